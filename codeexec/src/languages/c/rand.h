/* glibc's rand(), so that programs get the same numbers as on Linux: additive feedback r[i] = r[i-3] + r[i-31]. */
#pragma once
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
__attribute__((weak)) int32_t __codeexec_random[34];
__attribute__((weak)) int __codeexec_random_at = -1;
__attribute__((weak)) void srand(unsigned seed) {
  int32_t *r = __codeexec_random;
  r[0] = seed ? (int32_t)seed : 1;
  for (int i = 1; i < 31; i++) {
    int64_t high = r[i - 1] / 127773, low = r[i - 1] % 127773, word = 16807 * low - 2836 * high;
    r[i] = (int32_t)(word < 0 ? word + 2147483647 : word);
  }
  __codeexec_random_at = 0;
  for (int i = 0; i < 310; i++) {
    int at = __codeexec_random_at;
    r[(at + 3) % 31] = (int32_t)((uint32_t)r[(at + 3) % 31] + (uint32_t)r[at]);
    __codeexec_random_at = (at + 1) % 31;
  }
}
__attribute__((weak)) int rand(void) {
  if (__codeexec_random_at < 0) srand(1);
  int32_t *r = __codeexec_random;
  int at = __codeexec_random_at;
  uint32_t sum = (uint32_t)r[(at + 3) % 31] + (uint32_t)r[at];
  r[(at + 3) % 31] = (int32_t)sum;
  __codeexec_random_at = (at + 1) % 31;
  return (int)(sum >> 1);
}
#ifdef __cplusplus
}
#endif
