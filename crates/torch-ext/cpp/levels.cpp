// See levels.h.

#include "levels.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

// Null pointers if HERD_KERNELS does not name a level that this CPU supports.
herd::Level chosen() {
  std::vector<herd::Level> levels = {{&herd::kernels_base, &herd::attention_base, false}};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512cd");
  if (v3)
    levels.push_back({&herd::kernels_v3, &herd::attention_v3, true});
  if (v4)
    levels.push_back({&herd::kernels_v4, &herd::attention_v4, false});
  if (v4 && __builtin_cpu_supports("avx512bf16"))
    levels.push_back({&herd::kernels_v4_bf16, &herd::attention_v4_bf16, false});
#endif
  const char *wanted = std::getenv("HERD_KERNELS");
  if (!wanted || !*wanted)
    return levels.back();
  const auto named = std::find_if(levels.begin(), levels.end(), [&](const herd::Level &level) {
    return std::string(level.decoder->level) == wanted;
  });
  return named == levels.end() ? herd::Level{nullptr, nullptr, false} : *named;
}

const herd::Level &choice() {
  static const herd::Level choice = chosen();
  return choice;
}

} // namespace

namespace herd {

const Level &level() {
  TORCH_CHECK(choice().decoder, "HERD_KERNELS is ", std::getenv("HERD_KERNELS"),
              ", and this processor has no kernels of that name; take base, v3 (AVX2), v4 (AVX-512) or v4_bf16, or unset it");
  return choice();
}

const Level &level_or_none() { return choice(); }

const char *level_name() { return choice().decoder ? choice().decoder->level : "none"; }

} // namespace herd
