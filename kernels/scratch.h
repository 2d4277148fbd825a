// What ops take of Stream::scratch at most, for plans that hold it before the first pass: nothing
// is allocated while one runs. Ops that are not here take none in inference.
#pragma once

#include "kernels/ops.h"

namespace weft {

// Where an op runs: what its scratch depends on beside its sizes.
struct ScratchPlace {
  Device device;
  int n_threads = 1;  // of a CPU's stream
};

struct LinearSizes {
  std::int64_t N = 0, O = 0, I = 0;  // rows at most
  DType act = DType::f32, weight = DType::f32;
  Precision precision = Precision::fp32;
};
std::size_t linear_scratch_bytes(const LinearSizes& sizes, const ScratchPlace& place);

// Heads on one rank of the queries or keys of N tokens at most.
std::size_t head_norm_scratch_bytes(std::int64_t N, std::int64_t n_heads, std::int64_t head_dim,
                                    const ScratchPlace& place);

std::size_t attention_scratch_bytes(std::int64_t head_dim, const ScratchPlace& place);

struct CachedAttentionSizes {
  std::int64_t rows = 0, texts = 0;  // of a call at most: new tokens, slices
  std::int64_t keys = 0;             // of a text at most, the new ones among them
};
std::size_t attention_cached_scratch_bytes(const CachedAttentionSizes& sizes,
                                           const AttentionArgs& args, const ScratchPlace& place);

// sample and warp_logits, of N rows at once.
std::size_t sample_scratch_bytes(std::int64_t N, std::int64_t V, const ScratchPlace& place);

namespace cpu {
std::size_t linear_scratch_bytes(const LinearSizes& sizes, int n_threads);
std::size_t head_norm_scratch_bytes(std::int64_t N, std::int64_t n_heads, std::int64_t head_dim);
std::size_t attention_scratch_bytes(std::int64_t head_dim, int n_threads);
std::size_t attention_cached_scratch_bytes(std::int64_t keys, std::int64_t head_dim, int n_threads);
std::size_t sample_scratch_bytes(std::int64_t N, std::int64_t V, int n_threads);
}  // namespace cpu

// Of a GPU's ops; 0 where there are none.
std::size_t cuda_linear_scratch_bytes(const LinearSizes& sizes);
std::size_t cuda_attention_cached_scratch_bytes(const CachedAttentionSizes& sizes,
                                                const AttentionArgs& args);

}  // namespace weft
