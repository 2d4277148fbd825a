// All maths on tensors, the whole interface on one page. Outputs come first, then inputs, then scalars, the stream last.
// Accumulation is fp32 everywhere. A shape or dtype that an op does not support is an Error naming the op and the shapes.
// Dims: N rows (tokens), B sequences, T queries, S cache length, C width, I/O in and out features, H heads, Hkv KV heads,
// D head dim, V vocabulary (V_tp: a rank's rows of it).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "core/device.h"
#include "core/tensor.h"

namespace weft {

// ---------------------------------------------------------------------------------------------------------------- linear
// How a matmul multiplies: fp32; fp32 in an order of summation that does not depend on how many rows there are (slower for many);
// or inputs rounded to bf16 with fp32 accumulation (AMX/AVX-512 where the CPU has them).
enum class Precision : std::uint8_t { fp32, fp32_fixed, bf16 };

// y = x wᵀ + bias, as torch.nn.Linear. One to a few rows stream w at memory bandwidth; more go to the matmul library.
void linear(View y,          // (N, O) fp32
            ConstView x,     // (N, I) fp32
            ConstView w,     // (O, I) fp32, bf16 or fp16
            ConstView bias,  // (O) fp32, or empty
            Precision precision, Stream& stream);

// dx = dy w
void linear_backward_input(View dx,       // (N, I) fp32
                           ConstView dy,  // (N, O) fp32
                           ConstView w,   // (O, I) fp32, bf16
                           Precision precision, Stream& stream);

// dw += dyᵀ x,  dbias += Σ_rows dy
void linear_backward_weight(View dw,       // (O, I) fp32, accumulated into
                            View dbias,    // (O) fp32, accumulated into, or empty
                            ConstView dy,  // (N, O) fp32
                            ConstView x,   // (N, I) fp32
                            Precision precision, Stream& stream);

// The matmul library in use, for reports: "oneDNN 2.6.3", "OpenBLAS …".
std::string matmul_library();

// --------------------------------------------------------------------------------------------------------------- dropout
// Element e of sequence s is kept iff uniform(philox(key(seed, step, site), (e, s))) >= p, and then scaled by 1/(1-p).
// The mask is recomputed in backward, never stored, and does not know the grid.
struct Dropout {
  float p = 0;                    // 0: the op passes through
  std::uint64_t seed = 0;         // of the run
  std::uint32_t step = 0;         // optimizer step
  std::uint32_t site = 0;         // which dropout of the model: 3·layer + {1 attention, 2 attention out, 3 MLP out}, 0 embedding
  std::int64_t first_sample = 0;  // global sample index of row 0 of the batch
};

// y = keep(x)/(1-p);  x and y may be the same. The derivative is the same op on dy.
void dropout(View y,       // (B, T, C) fp32
             ConstView x,  // (B, T, C) fp32
             const Dropout& drop, Stream& stream);

// ------------------------------------------------------------------------------------------------------------------ norm
// sum = x + dropout(delta);  y = (sum - mean)·rstd·weight + bias, over the last dim. mean and rstd are saved for backward.
// Without delta (empty) sum may be empty and y = norm(x).  Without y (empty) only the sum is formed.
void add_layer_norm(View y,            // (B, T, C) fp32, or empty
                    View sum,          // (B, T, C) fp32, may alias x; empty when delta is
                    View mean,         // (B, T) fp32
                    View rstd,         // (B, T) fp32
                    ConstView x,       // (B, T, C) fp32
                    ConstView delta,   // (B, T, C) fp32, or empty
                    ConstView weight,  // (C) fp32
                    ConstView bias,    // (C) fp32, or empty
                    float eps, const Dropout& drop, Stream& stream);

// dsum += d(norm)/d(sum)·dy;  ddelta = dropout'(dsum);  dweight, dbias accumulate.
void add_layer_norm_backward(View dsum,         // (B, T, C) fp32: in: gradient from the residual path; out: of x
                             View ddelta,       // (B, T, C) fp32, or empty (then dsum is delta's gradient too when p = 0)
                             View dweight,      // (C) fp32, accumulated into
                             View dbias,        // (C) fp32, accumulated into, or empty
                             ConstView dy,      // (B, T, C) fp32, or empty
                             ConstView sum,     // (B, T, C) fp32
                             ConstView mean,    // (B, T) fp32
                             ConstView rstd,    // (B, T) fp32
                             ConstView weight,  // (C) fp32
                             const Dropout& drop, Stream& stream);

// ------------------------------------------------------------------------------------------------------------ activation
enum class Activation : std::uint8_t { gelu_tanh, gelu_erf };

// y = act(x);  x and y may be the same.
void activation(View y, ConstView x, Activation kind, Stream& stream);  // (N, F) fp32
// dx = act'(x)·dy;  dx and dy may be the same.
void activation_backward(View dx, ConstView dy, ConstView x, Activation kind, Stream& stream);  // (N, F) fp32

// ------------------------------------------------------------------------------------------------------------- attention
struct AttentionArgs {
  int n_heads = 0;     // H of this rank
  int n_kv_heads = 0;  // Hkv of this rank; divides n_heads
  int head_dim = 0;    // D
  float scale = 1;     // of q·k
  bool causal = true;
  int first_head = 0;  // global index of head 0, for the dropout counter
  int total_heads = 0; // H of the whole model, likewise
  Dropout drop;        // on the probabilities
  bool fixed_order = false;  // attention_cached: a row's bits do not depend on how many rows its sequence brings (slower for one)
};

// out = softmax(scale · q kᵀ + mask) v, tile by tile with an online softmax: no (T, T) matrix in memory.
void attention(View out,           // (B, T, H, D) fp32
               View lse,           // (B, H, T) fp32: log of the softmax denominator, for backward
               ConstView qkv,      // (B, T, H + 2 Hkv, D) fp32: query heads, then key heads, then value heads
               ConstView lengths,  // (B) i32: keys at and past it are padding; empty: all T
               const AttentionArgs& args, Stream& stream);

// Recomputes the probabilities from lse; deterministic.
void attention_backward(View dqkv,          // (B, T, H + 2 Hkv, D) fp32, written
                        ConstView dout,     // (B, T, H, D) fp32
                        ConstView out,      // (B, T, H, D) fp32
                        ConstView lse,      // (B, H, T) fp32
                        ConstView qkv,      // (B, T, H + 2 Hkv, D) fp32
                        ConstView lengths,  // (B) i32, or empty
                        const AttentionArgs& args, Stream& stream);

// New tokens of one sequence among the N rows of a batch, and where its keys and values are cached.
struct CacheSlice {
  std::int64_t first_row = 0;  // of its new tokens among the N
  std::int64_t n_rows = 0;     // new tokens: the prompt at first, then 1
  std::int64_t n_cached = 0;   // tokens already in the cache
  std::int64_t slot = 0;       // first dim of the caches
};

// Appends the new keys and values to the cache, then attends causally to everything cached.
void attention_cached(View out,       // (N, H, D) fp32
                      View k_cache,   // (slots, S, Hkv, D) fp32
                      View v_cache,   // (slots, S, Hkv, D) fp32
                      ConstView qkv,  // (N, H + 2 Hkv, D) fp32
                      std::span<const CacheSlice> slices, const AttentionArgs& args, Stream& stream);

// ------------------------------------------------------------------------------------------------------------- embedding
// y[n] = table[ids[n] - first_row] where this rank holds the row, else 0;  += when accumulate.
void embedding(View y,           // (N, C) fp32
               ConstView ids,    // (N) i32
               ConstView table,  // (V_tp, C) fp32 or bf16
               std::int64_t first_row, bool accumulate, Stream& stream);

// dtable[ids[n] - first_row] += dy[n], in the order of n (deterministic).
void embedding_backward(View dtable,   // (V_tp, C) fp32, accumulated into
                        ConstView dy,  // (N, C) fp32
                        ConstView ids, // (N) i32
                        std::int64_t first_row, Stream& stream);

// ------------------------------------------------------------------------------------------------------------------ loss
// What a vocabulary shard knows of each row's softmax: stats[n] = {max_v logit, Σ_v exp(logit - max), label's logit or 0}.
void cross_entropy_stats(View stats,        // (N, 3) fp32
                         ConstView logits,  // (N, V_tp) fp32
                         ConstView labels,  // (N) i32, global ids; kIgnoreLabel: no label
                         std::int64_t first_vocab, Stream& stream);

constexpr std::int32_t kIgnoreLabel = -100;  // as torch.nn.functional.cross_entropy

// Joins the shards' stats in order: lse = log Σ exp, loss = lse - label's logit (0 where the label is ignored).
void cross_entropy_combine(View loss,        // (N) fp32
                           View lse,         // (N) fp32
                           ConstView stats,  // (shards, N, 3) fp32
                           ConstView labels, // (N) i32
                           Stream& stream);

// logits <- scale · (softmax(logits) - onehot(label)) in place; 0 rows where the label is ignored.
void cross_entropy_backward(View logits,       // (N, V_tp) fp32
                            ConstView lse,     // (N) fp32
                            ConstView labels,  // (N) i32
                            std::int64_t first_vocab, float scale, Stream& stream);

// ------------------------------------------------------------------------------------------------------------- optimizer
struct AdamWTensor {
  View weight;       // fp32 master
  View m, v;         // fp32 moments
  ConstView grad;    // fp32
  View weight_bf16;  // the same dims in bf16, or empty: written beside the master
  bool decay = true;
};

struct AdamWArgs {
  float lr = 0, beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, weight_decay = 0;
  std::int64_t step = 1;  // counted from 1, for the bias corrections
  float grad_scale = 1;   // gradients are multiplied by it first (clipping)
};

// As torch.optim.AdamW:  w -= lr·wd·w;  m, v <- moments;  w -= lr·m̂/(sqrt(v̂) + eps). One pass over all tensors.
void adamw(std::span<const AdamWTensor> tensors, const AdamWArgs& args, Stream& stream);

// Σ x², in fp64 over fixed chunks: the result does not depend on the number of threads.
double sum_of_squares(ConstView x, Stream& stream);  // fp32

// y += x;   y *= s
void add(View y, ConstView x, Stream& stream);
void scale(View y, float s, Stream& stream);
// y = x in y's dtype (fp32, bf16, fp16)
void convert(View y, ConstView x, Stream& stream);

}  // namespace weft
