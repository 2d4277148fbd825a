// One head's attention between a few queries and all keys, whatever the memory layout:
// attention.cpp cuts batches and caches into these.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace weft::cpu {

constexpr std::int64_t kTile = 64;  // queries and keys of a tile

// Dropout of the probabilities of one head: element (head·T + query)·T + key of a sample, both
// counted from first_row.
struct HeadDropout {
  Dropout drop;
  std::int64_t head = 0, T = 0, sample = 0, first_row = 0;
};

// A query at position i sees the keys [i - left, i + right].
constexpr std::int64_t kUnbounded = std::int64_t{1} << 60;
struct HeadWindow {
  std::int64_t left = kUnbounded, right = kUnbounded;
};

// Keys and values of one head cut into pages of `size` rows, a multiple of kTile; table == nullptr:
// one after the other.
struct HeadPages {
  const std::int32_t* table = nullptr;
  std::int64_t size = 0;
};

// Queries [first_query, first_query + n_q), n_q <= kTile, of one head; query i is at position i +
// offset and sees keys of [0, n_keys).
struct HeadForward {
  const float* q;     // row 0 of this head
  const void *k, *v;  // likewise, of its page 0
  float* out;
  float* lse;             // may be null
  DType kv = DType::f32;  // of k and v: fp32, bf16, or int8 (kv_row_elems of kernels/ops.h)
  std::int64_t q_stride, kv_stride, out_stride;  // in elements
  std::int64_t first_query, n_q, n_keys, offset, D;
  HeadWindow window;
  HeadPages pages;
  float scale, softcap;  // softcap 0: none
  HeadDropout drop;
};

std::int64_t head_forward_scratch_elems(std::int64_t D);
void head_forward(const HeadForward& head, float* scratch);

// One query: the bits of head_forward(), without a tile's work. next: what this thread does behind
// it, whose first keys are fetched meanwhile; null: nothing is known of it.
std::int64_t head_decode_scratch_elems(std::int64_t D);
void head_decode(const HeadForward& head, const HeadForward* next, float* scratch);

// All queries and keys of one query head; dk and dv accumulate (the heads of a KV group share
// them).
struct HeadBackward {
  const float *q, *k, *v, *out, *dout, *lse;
  float *dq, *dk, *dv;
  std::int64_t qkv_stride, out_stride;  // of q, k, v and their gradients; of out and dout
  std::int64_t T, n_keys, D;
  HeadWindow window;
  float scale, softcap;
  HeadDropout drop;
};

std::int64_t head_backward_scratch_elems(std::int64_t T, std::int64_t D);
void head_backward(const HeadBackward& head, float* scratch);

}  // namespace weft::cpu
