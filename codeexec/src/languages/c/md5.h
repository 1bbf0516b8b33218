/* MD5 (RFC 1321) under OpenSSL's names. */
#pragma once
#include <stdint.h>
#include <string.h>
#define MD5_DIGEST_LENGTH 16
typedef struct {
  uint32_t state[4];
  uint64_t length;
  uint8_t block[64];
} MD5_CTX;
static inline int MD5_Init(MD5_CTX *c) {
  static const uint32_t start[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  memcpy(c->state, start, sizeof start);
  c->length = 0;
  return 1;
}
static inline void codeexec_md5_block(MD5_CTX *c) {
  static const uint8_t shifts[16] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};
  uint32_t words[16], s[4];
  memcpy(words, c->block, 64);
  memcpy(s, c->state, 16);
  for (int i = 0; i < 64; i++) {
    uint32_t f;
    int g;
    if (i < 16) { f = (s[1] & s[2]) | (~s[1] & s[3]); g = i; }
    else if (i < 32) { f = (s[3] & s[1]) | (~s[3] & s[2]); g = (5 * i + 1) % 16; }
    else if (i < 48) { f = s[1] ^ s[2] ^ s[3]; g = (3 * i + 5) % 16; }
    else { f = s[2] ^ (s[1] | ~s[3]); g = 7 * i % 16; }
    double sine = __builtin_sin(i + 1.0);
    uint32_t add = (uint32_t)((sine < 0 ? -sine : sine) * 4294967296.0);
    uint32_t sum = s[0] + f + add + words[g], by = shifts[i / 16 * 4 + i % 4];
    s[0] = s[3];
    s[3] = s[2];
    s[2] = s[1];
    s[1] += sum << by | sum >> (32 - by);
  }
  for (int i = 0; i < 4; i++) c->state[i] += s[i];
}
static inline int MD5_Update(MD5_CTX *c, const void *data, size_t length) {
  for (size_t i = 0; i < length; i++) {
    c->block[c->length++ % 64] = ((const uint8_t *)data)[i];
    if (c->length % 64 == 0) codeexec_md5_block(c);
  }
  return 1;
}
static inline int MD5_Final(unsigned char *digest, MD5_CTX *c) {
  uint64_t bits = c->length * 8;
  MD5_Update(c, "\x80", 1);
  while (c->length % 64 != 56) MD5_Update(c, "", 1);
  MD5_Update(c, &bits, 8);
  memcpy(digest, c->state, 16);
  return 1;
}
static inline unsigned char *MD5(const unsigned char *data, size_t length, unsigned char *digest) {
  MD5_CTX c;
  MD5_Init(&c);
  MD5_Update(&c, data, length);
  MD5_Final(digest, &c);
  return digest;
}
