// Types and sizes that the CPU kernels share with their callers.
#pragma once

#include <stdint.h>

namespace herd {

using bf16 = uint16_t;

// Columns in a block of a packed matrix, and tokens in a page of the KV cache.
constexpr int64_t BLOCK = 16;

} // namespace herd
