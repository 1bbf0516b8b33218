// Shortens libgomp's spinning while other programs are busy: see sharing.rs.

#include "common.h"

#include <omp.h>

#include <algorithm>
#include <atomic>

extern "C" {

// Makes the calling thread the master of an OpenMP team with one thread more than there are cores, but at most 65 threads (the
// computing threads of the process also count against the number of cores). The other threads sleep until the calling thread ends.
char *tx_make_team() {
  return guarded([] {
    std::atomic<int> present{0};
#pragma omp parallel num_threads(std::min(omp_get_num_procs(), 64) + 1)
    present.fetch_add(1, std::memory_order_relaxed);
    TORCH_CHECK(present.load() > 1, "no OpenMP threads beside the first");
  });
}
}
