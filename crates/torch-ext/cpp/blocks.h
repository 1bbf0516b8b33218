// Types and sizes that the kernels and those who call them agree on.
#pragma once

#include <stdint.h>

namespace herd {

using bf16 = uint16_t;

// Columns of a packed matrix that stand together, and tokens of a page of keys and values.
constexpr int64_t BLOCK = 16;

} // namespace herd
