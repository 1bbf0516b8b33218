// range_attention.h for bfloat16 by products of tiles (AttentionTiles). Weights and gradients of scores are rounded to bfloat16
// before they are multiplied, as in FlashAttention; sums are float32.
#pragma once

#include "range_attention.h"

namespace herd {

void tile_attention_forward(const AttentionKernels &kernels, const AttentionPlan &plan, const bf16 *q, const bf16 *k, const bf16 *v,
                            bf16 *out, float *normaliser, int threads);

void tile_attention_backward(const AttentionKernels &kernels, const AttentionPlan &plan, const bf16 *q, const bf16 *k,
                             const bf16 *v, const bf16 *out, const float *normaliser, const bf16 *g, float *gq, bf16 *gk,
                             bf16 *gv, int threads);

} // namespace herd
