// One head's attention between a few queries and all keys, whatever the memory layout: attention.cpp cuts batches and caches into these.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace weft::cpu {

constexpr std::int64_t kTile = 64;  // queries and keys of a tile

// Dropout of the probabilities of one head: element (head·T + query)·T + key of sequence s.
struct HeadDropout {
  Dropout drop;
  std::int64_t head = 0, T = 0, sample = 0;
};

// Queries [first_query, first_query + n_q), n_q <= kTile, of one head. Key j is seen by query i iff j < n_keys and (causal) j <= i + offset.
struct HeadForward {
  const float *q, *k, *v;  // row 0 of this head
  float* out;
  float* lse;              // may be null
  std::int64_t q_stride, kv_stride, out_stride;
  std::int64_t first_query, n_q, n_keys, offset, D;
  bool causal;
  float scale;
  HeadDropout drop;
};

std::int64_t head_forward_scratch_elems(std::int64_t D);
void head_forward(const HeadForward& head, float* scratch);

// One query against all keys, its scores in scratch (n_keys): for decoding, where tiles would be nearly empty.
void head_decode(const HeadForward& head, float* scratch);

// All queries and keys of one query head; dk and dv accumulate (the heads of a KV group share them).
struct HeadBackward {
  const float *q, *k, *v, *out, *dout, *lse;
  float *dq, *dk, *dv;
  std::int64_t qkv_stride, out_stride;  // of q, k, v and their gradients; of out and dout
  std::int64_t T, n_keys, D;
  bool causal;
  float scale;
  HeadDropout drop;
};

std::int64_t head_backward_scratch_elems(std::int64_t T, std::int64_t D);
void head_backward(const HeadBackward& head, float* scratch);

}  // namespace weft::cpu
