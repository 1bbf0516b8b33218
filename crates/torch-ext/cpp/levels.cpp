// See levels.h.

#include "levels.h"

#include <c10/util/Exception.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

#if defined(__x86_64__)
// Whether the CPU multiplies bfloat16 by AMX, and the kernel lets this process use its registers (Linux asks for that, since they
// are large).
bool allows_amx() {
  unsigned a, b, c, d;
  constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & amx_bf16) == 0 || (d & amx_tile) == 0)
    return false;
  constexpr long request_permission = 0x1023, tile_data = 18;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#endif

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
  const bool v4_bf16 = v4 && __builtin_cpu_supports("avx512bf16");
  if (v4_bf16)
    levels.push_back({&herd::kernels_v4_bf16, &herd::attention_v4_bf16, false});
  if (v4_bf16 && allows_amx())
    levels.push_back({&herd::kernels_v4_amx, &herd::attention_v4_amx, false});
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
              ", and this processor has no kernels of that name; take base, v3 (AVX2), v4 (AVX-512), v4_bf16 or v4_amx, or unset it");
  return choice();
}

const Level &level_or_none() { return choice(); }

const char *level_name() { return choice().decoder ? choice().decoder->level : "none"; }

} // namespace herd
