// The level of the instruction set that kernels are taken from: the best of this processor, or the lesser one that HERD_KERNELS
// names.
#pragma once

#include "attention_kernels.h"
#include "decoder_kernels.h"

namespace herd {

struct Level {
  const Kernels *decoder;
  const AttentionKernels *attention;
};

// Throws where HERD_KERNELS names no level of this processor.
const Level &level();

// Its name; "none" where HERD_KERNELS names none of this processor.
const char *level_name();

} // namespace herd
