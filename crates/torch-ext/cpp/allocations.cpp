// What tensors take while something is computed, as libtorch's allocator reports it to the thread that asked.

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

// Begins to watch in this thread.
char *tx_watch_begin(void **watching) {
  return guarded([&] { *watching = new Watching; });
}

// Ends it, in the same thread: the largest piece, and the most that was held beyond what was held before, in bytes.
void tx_watch_end(void *watching, int64_t *largest, int64_t *most) {
  std::unique_ptr<Watching> own(static_cast<Watching *>(watching));
  const std::lock_guard<std::mutex> guard(own->watch->lock);
  *largest = own->watch->largest;
  *most = own->watch->most;
}
}
