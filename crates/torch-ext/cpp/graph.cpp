// CUDA graphs: the work on a stream is recorded once and replayed. This file uses libtorch's class at::cuda::CUDAGraph, because
// libtorch's allocator must know of a recording: it must not hand the memory of a recording to others. The class is in
// libtorch_cuda.so, which this library does not link, and its header needs CUDA's headers. So dlsym finds its functions by their
// mangled names; a missing function is an error.

#include "common.h"

#include <c10/core/Stream.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <dlfcn.h>

#include <memory>
#include <string>
#include <utility>

namespace {

// Id of a memory pool of libtorch's allocator; {0, 0} asks for a new pool.
using Pool = std::pair<unsigned long long, unsigned long long>;

// Member functions of at::cuda::CUDAGraph of libtorch 2.11.
struct Calls {
  void (*make)(void *, bool keep) = nullptr;
  void (*destroy)(void *) = nullptr;
  void (*begin)(void *, Pool, unsigned mode) = nullptr;
  void (*end)(void *) = nullptr;
  void (*replay)(void *) = nullptr;
  Pool (*pool)(void *) = nullptr;
  std::string missing;
};

const Calls &calls() {
  static const Calls found = [] {
    Calls all;
    const auto find = [&](auto &function, const char *name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(RTLD_DEFAULT, name));
      if (!function && all.missing.empty())
        all.missing = name;
    };
    find(all.make, "_ZN2at4cuda9CUDAGraphC1Eb");
    find(all.destroy, "_ZN2at4cuda9CUDAGraphD1Ev");
    find(all.begin, "_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode");
    find(all.end, "_ZN2at4cuda9CUDAGraph11capture_endEv");
    find(all.replay, "_ZN2at4cuda9CUDAGraph6replayEv");
    find(all.pool, "_ZN2at4cuda9CUDAGraph4poolEv");
    return all;
  }();
  TORCH_CHECK(found.missing.empty(), "no loaded library has ", found.missing, " of libtorch's CUDA graphs");
  return found;
}

// cudaStreamCaptureModeThreadLocal: other threads may allocate GPU memory while this thread records.
constexpr unsigned thread_local_mode = 1;

// Storage for libtorch's CUDAGraph object (104 bytes in 2.11), and the stream on which it is recorded.
struct Graph {
  alignas(64) char storage[1024] = {};
  c10::Device device;
  std::optional<c10::StreamGuard> on;
  bool made = false, recording = false;

  explicit Graph(c10::Device device) : device(device) {}

  ~Graph() {
    if (made)
      calls().destroy(storage);
  }
};

} // namespace

extern "C" {

// Waits for the current stream of the device of `like`, then makes another stream from libtorch's pool current in this thread,
// until tx_graph_end.
char *tx_graph_enter(void **out, const tensor like) {
  return guarded([&] {
    TORCH_CHECK(like->is_cuda(), "graphs are for tensors on a GPU, not on ", like->device());
    calls();
    auto graph = std::make_unique<Graph>(like->device());
    const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
    guard.synchronizeStream(guard.getStream(graph->device));
    graph->on.emplace(guard.getStreamFromGlobalPool(graph->device));
    *out = graph.release();
  });
}

// Begins the recording: from here on, work on the stream is recorded and not executed. Its memory comes from the pool of the
// graph `beside`, or from a new pool if `beside` is null.
char *tx_graph_begin(void *handle, void *beside) {
  return guarded([&] {
    auto &graph = *static_cast<Graph *>(handle);
    TORCH_CHECK(graph.on, "a recording that was left");
    const c10::impl::VirtualGuardImpl guard(c10::kCUDA);
    guard.synchronizeStream(graph.on->current_stream());
    calls().make(graph.storage, false);
    graph.made = true;
    const Pool pool = beside ? calls().pool(static_cast<Graph *>(beside)->storage) : Pool{0, 0};
    calls().begin(graph.storage, pool, thread_local_mode);
    graph.recording = true;
  });
}

// Ends the recording, if one began, and makes the previous stream current again.
char *tx_graph_end(void *handle) {
  return guarded([&] {
    auto &graph = *static_cast<Graph *>(handle);
    struct Leave {
      Graph &graph;
      ~Leave() {
        graph.recording = false;
        graph.on.reset();
      }
    } leave{graph};
    if (graph.recording)
      calls().end(graph.storage);
  });
}

// Launches the recorded work on the current stream.
char *tx_graph_replay(void *handle) {
  return guarded([&] { calls().replay(static_cast<Graph *>(handle)->storage); });
}

void tx_graph_free(void *handle) { delete static_cast<Graph *>(handle); }
}
