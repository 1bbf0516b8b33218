/* MD5 (RFC 1321) under OpenSSL's name. */
#pragma once
#include <stdint.h>
#include <string.h>
#define MD5_DIGEST_LENGTH 16
static unsigned char *MD5(const unsigned char *data, size_t length, unsigned char *digest) {
  static const uint8_t shifts[16] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};
  uint32_t sines[64], state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  for (int i = 0; i < 64; i++) {
    double s = __builtin_sin(i + 1.0);
    sines[i] = (uint32_t)((s < 0 ? -s : s) * 4294967296.0);
  }
  size_t total = (length + 8) / 64 * 64 + 64;
  for (size_t at = 0; at < total; at += 64) {
    uint8_t block[64];
    for (size_t i = 0; i < 64; i++) {
      size_t p = at + i;
      block[i] = p < length ? data[p] : p == length ? 0x80
        : p >= total - 8 ? (uint8_t)((uint64_t)length * 8 >> (8 * (p - (total - 8)))) : 0;
    }
    uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];
    memcpy(words, block, 64);
    for (int i = 0; i < 64; i++) {
      uint32_t f;
      int g;
      if (i < 16) { f = (b & c) | (~b & d); g = i; }
      else if (i < 32) { f = (d & b) | (~d & c); g = (5 * i + 1) % 16; }
      else if (i < 48) { f = b ^ c ^ d; g = (3 * i + 5) % 16; }
      else { f = c ^ (b | ~d); g = 7 * i % 16; }
      uint32_t sum = a + f + sines[i] + words[g], by = shifts[i / 16 * 4 + i % 4];
      a = d;
      d = c;
      c = b;
      b += sum << by | sum >> (32 - by);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
  }
  memcpy(digest, state, 16);
  return digest;
}
