// What ops take of a stream's device at most beside tensors, for plans that hold it before the
// first pass: nothing is allocated while one runs. Ops that are not here take no scratch in
// inference.
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
  bool panels = false;  // w is in panels
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

// Of the widest calls of a training step on a rank.
struct BackwardSizes {
  std::int64_t B = 0, T = 0;               // of a micro-batch
  std::int64_t width = 0;                  // of the rows that are normed
  std::int64_t widest = 0;                 // of a row that a bias is added to
  std::int64_t n_heads = 0, head_dim = 0;  // of the queries
  std::int64_t elems = 0, n_tensors = 0;   // of all parameters
};
// Of scratch, by backward ops and by sums over the parameters, on a GPU; the CPU's are not planned.
std::size_t backward_scratch_bytes(const BackwardSizes& sizes, Device device);

// What a rank's stream comes to hold beside its scratch: the workspace of products, a ring of
// tables that tell of up to `n_tensors` at once, and kCudaReserve. 0 on the CPU.
std::size_t op_workspace_bytes(Device device, std::int64_t n_tensors = 0);

// What plans leave CUDA for pieces that it rounds allocations up to (2 MiB) and for kernels, which
// are loaded when they are first launched. Nobody has measured it.
constexpr std::size_t kCudaReserve = std::size_t{64} << 20;

namespace cpu {
std::size_t linear_scratch_bytes(const LinearSizes& sizes, int n_threads);
std::size_t head_norm_scratch_bytes(std::int64_t N, std::int64_t n_heads, std::int64_t head_dim);
std::size_t attention_scratch_bytes(std::int64_t head_dim, int n_threads);
std::size_t attention_cached_scratch_bytes(std::int64_t head_dim, int n_threads);
std::size_t sample_scratch_bytes(std::int64_t N, std::int64_t V, int n_threads);
}  // namespace cpu

// Of a GPU's ops; 0 where there are none.
std::size_t cuda_linear_scratch_bytes(const LinearSizes& sizes);
std::size_t cuda_attention_cached_scratch_bytes(const CachedAttentionSizes& sizes,
                                                const AttentionArgs& args);
std::size_t cuda_backward_scratch_bytes(const BackwardSizes& sizes);
std::size_t cuda_workspace_bytes(std::int64_t n_tensors);

// Beside the kernels that take it; N rows.
namespace cuda {
std::size_t linear_backward_scratch_bytes(std::int64_t N, std::int64_t O);
std::size_t norm_backward_scratch_bytes(std::int64_t N, std::int64_t C, int n_sums);
std::size_t activation_backward_scratch_bytes(std::int64_t N, std::int64_t bias_elems);
std::size_t attention_backward_scratch_bytes(std::int64_t B, std::int64_t T, std::int64_t n_heads);
std::size_t embedding_backward_scratch_bytes(std::int64_t N);
std::size_t head_norm_backward_scratch_bytes(std::int64_t N, std::int64_t n_heads,
                                             std::int64_t head_dim);
std::size_t sum_of_squares_scratch_bytes(std::int64_t elems, std::int64_t n_tensors);
std::size_t optimizer_table_bytes(std::int64_t n_tensors);
}  // namespace cuda

}  // namespace weft
