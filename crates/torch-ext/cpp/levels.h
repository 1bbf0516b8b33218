// Selects the instruction-set level of the CPU kernels at run time: the best level that this CPU supports, or the lower level
// that the variable HERD_KERNELS names.
#pragma once

#include "attention_kernels.h"
#include "decoder_kernels.h"

namespace herd {

struct Level {
  const Kernels *decoder;
  const AttentionKernels *attention;
  // Whether the tiles of attention also compute the float32 products of training (products.h).
  bool tiles_multiply;
};

// The selected level. Throws if HERD_KERNELS does not name a level that this CPU supports.
const Level &level();

// The same without an error: null pointers if HERD_KERNELS does not name such a level.
const Level &level_or_none();

// The name of the selected level; "none" if HERD_KERNELS does not name a level that this CPU supports.
const char *level_name();

} // namespace herd
