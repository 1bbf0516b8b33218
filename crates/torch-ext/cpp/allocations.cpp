// Measures the memory of tensors during a computation: libtorch's allocator reports each allocation to the watching thread.

#include "common.h"

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <memory>
#include <mutex>

namespace {

struct AllocationWatch : c10::MemoryReportingInfoBase {
  void reportMemoryUsage(void *, int64_t bytes, size_t, size_t, c10::Device) override {
    const std::lock_guard<std::mutex> guard(lock);
    largest = std::max(largest, bytes);
    held += bytes;
    most = std::max(most, held);
  }
  bool memoryProfilingEnabled() const override { return true; }

  std::mutex lock;
  int64_t largest = 0, held = 0, most = 0;
};

struct Watching {
  std::shared_ptr<AllocationWatch> watch = std::make_shared<AllocationWatch>();
  c10::DebugInfoGuard guard{c10::DebugInfoKind::PROFILER_STATE, watch};
};

} // namespace

extern "C" {

// Starts to watch the allocations of this thread.
char *tx_watch_begin(void **watching) {
  return guarded([&] { *watching = new Watching; });
}

// Stops watching; call it in the same thread. Returns bytes: `largest` is the largest allocation, `most` the peak of the memory
// held beyond the memory held at the start.
void tx_watch_end(void *watching, int64_t *largest, int64_t *most) {
  std::unique_ptr<Watching> own(static_cast<Watching *>(watching));
  const std::lock_guard<std::mutex> guard(own->watch->lock);
  *largest = own->watch->largest;
  *most = own->watch->most;
}
}
