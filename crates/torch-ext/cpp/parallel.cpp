// Runs work from outside of libtorch on libtorch's thread pool. A second pool would compete with it for the CPU.

#include "common.h"

#include <ATen/Parallel.h>

extern "C" {

// Calls body(context, i) for each i in [0, count).
char *tx_parallel_for(int64_t count, void (*body)(void *, int64_t), void *context) {
  return guarded([&] {
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        body(context, i);
    });
  });
}
}
