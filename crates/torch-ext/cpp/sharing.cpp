// Waiting that leaves the processors to others: see sharing.rs.

#include "common.h"

#include <omp.h>

#include <algorithm>
#include <atomic>

extern "C" {

// Makes the calling thread the first of a team of one thread more than there are processors, or of 65 where there are very many:
// threads that compute count too. The others sleep until the calling thread ends.
char *tx_make_team() {
  return guarded([] {
    std::atomic<int> present{0};
#pragma omp parallel num_threads(std::min(omp_get_num_procs(), 64) + 1)
    present.fetch_add(1, std::memory_order_relaxed);
    TORCH_CHECK(present.load() > 1, "no OpenMP threads beside the first");
  });
}
}
