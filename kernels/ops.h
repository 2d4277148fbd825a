// All maths on tensors, the whole interface on one page. Outputs come first, then inputs, then
// scalars, the stream last. Accumulation is fp32 everywhere. A shape or dtype that an op does not
// support is an Error naming the op and the shapes. "act" is the dtype of activations and of their
// gradients, one for all of a call: fp32; on a GPU also bf16. Norm weights, biases, statistics and
// the gradients of parameters are fp32 always. Dims: N rows (tokens), B sequences, T queries, S
// cache length, C width, I/O in and out features, H heads, Hkv KV heads, D head dim, V vocabulary
// (V_tp: a rank's rows of it).
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>

#include "core/device.h"
#include "core/tensor.h"

namespace weft {

// The gradient of a parameter, for an op to add to; or to set, where the step has put nothing there
// yet: what memory holds is not read then.
struct Gradient {
  View sum;  // fp32; empty: not wanted
  bool accumulate = true;
  Gradient() = default;
  template <class X>
  requires std::convertible_to<X, View> Gradient(const X& x, bool adds = true)
      : sum(x), accumulate(adds) {}
  bool empty() const { return sum.empty(); }
};

// ---- linear

// How a matmul multiplies: fp32; fp32 in an order of summation that does not depend on how many
// rows there are, which panels have anyway; or inputs rounded to bf16 with fp32 accumulation
// (AMX/AVX-512 where the CPU has them).
enum class Precision : std::uint8_t { fp32, fp32_fixed, bf16 };

// y = x wᵀ + bias, as torch.nn.Linear. One to a few rows stream w at memory bandwidth; more go to
// the matmul library, unless w is in panels.
void linear(View y,          // (N, O) act
            ConstView x,     // (N, I) act
            ConstView w,     // (O, I) fp32, bf16 or fp16, or in panels (kernels/panels.h)
            ConstView bias,  // (O) fp32, or empty
            Precision precision, Stream& stream);

// dx = dy w
void linear_backward_input(View dx,       // (N, I) act
                           ConstView dy,  // (N, O) act
                           ConstView w,   // (O, I) fp32, bf16
                           Precision precision, Stream& stream);

// dw += dyᵀ x,  dbias += Σ_rows dy
void linear_backward_weight(Gradient dw,     // (O, I)
                            Gradient dbias,  // (O), or empty
                            ConstView dy,    // (N, O) act
                            ConstView x,     // (N, I) act
                            Precision precision, Stream& stream);

// The two layers on either side of a GELU (tanh form), each in one pass with it where the matmul
// library has one (cuBLASLt, for products in bf16); else linear and activation.
// pre = x wᵀ + bias;  y = gelu(pre)
void linear_gelu(View y,          // (N, O) act
                 View pre,        // (N, O) act, for backward
                 ConstView x,     // (N, I) act
                 ConstView w,     // (O, I) fp32, bf16 or fp16, or in panels
                 ConstView bias,  // (O) fp32, or empty
                 Precision precision, Stream& stream);
// dpre = gelu'(pre)·(dy w): of the layer behind it, whose w and dy these are
void linear_gelu_backward(View dpre,      // (N, I) act
                          ConstView dy,   // (N, O) act
                          ConstView w,    // (O, I) fp32, bf16
                          ConstView pre,  // (N, I) act
                          Precision precision, Stream& stream);

// The matmul library in use, for reports: "oneDNN 2.6.3", "OpenBLAS …".
std::string matmul_library();

// ---- dropout

// Element e of sequence s is kept iff uniform(philox(key(seed, step, site), (e, s))) >= p, and then
// scaled by 1/(1-p). The mask is recomputed in backward, never stored, and does not know the grid.
struct Dropout {
  float p = 0;             // 0: the op passes through
  std::uint64_t seed = 0;  // of the run
  std::uint32_t step = 0;  // optimizer step
  std::uint32_t site = 0;  // which dropout of the model: 3·layer + {1 attention, 2 attention out, 3
                           // MLP out}, 0 embedding
  std::int64_t first_sample = 0;  // global sample index of row 0 of the batch
};

// y = keep(x)/(1-p);  x and y may be the same. The derivative is the same op on dy.
void dropout(View y,       // (B, T, C) act
             ConstView x,  // (B, T, C) act
             const Dropout& drop, Stream& stream);

// ---- norm

// sum = x + dropout(delta);  y = (sum - mean)·rstd·weight + bias, over the last dim. mean and rstd
// are saved for backward. Without delta (empty) sum may be empty and y = norm(x).  Without y
// (empty) only the sum is formed.
void add_layer_norm(View y,            // (B, T, C) act, or empty
                    View sum,          // (B, T, C) act, may alias x; empty when delta is
                    View mean,         // (B, T) fp32
                    View rstd,         // (B, T) fp32
                    ConstView x,       // (B, T, C) act
                    ConstView delta,   // (B, T, C) act, or empty
                    ConstView weight,  // (C) fp32
                    ConstView bias,    // (C) fp32, or empty
                    float eps, const Dropout& drop, Stream& stream);

// dsum += d(norm)/d(sum)·dy;  ddelta = dropout'(dsum);  dweight += Σ dy·x̂;  dbias += Σ dy
void add_layer_norm_backward(
    View dsum,         // (B, T, C) act: in: gradient from the residual path; out: of x
    View ddelta,       // (B, T, C) act, or empty (then dsum is delta's gradient too when p = 0)
    Gradient dweight,  // (C)
    Gradient dbias,    // (C), or empty
    ConstView dy,      // (B, T, C) act, or empty
    ConstView sum,     // (B, T, C) act
    ConstView mean,    // (B, T) fp32
    ConstView rstd,    // (B, T) fp32
    ConstView weight,  // (C) fp32
    const Dropout& drop, Stream& stream);

// As add_layer_norm, without mean and bias:  y = sum·rstd·(offset + weight), rstd =
// 1/sqrt(mean(sum²) + eps); offset is 1 for Gemma, else 0.
void add_rms_norm(View y,            // (B, T, C) act, or empty
                  View sum,          // (B, T, C) act, may alias x; empty when delta is
                  View rstd,         // (B, T) fp32
                  ConstView x,       // (B, T, C) act
                  ConstView delta,   // (B, T, C) act, or empty
                  ConstView weight,  // (C) fp32
                  float offset, float eps, const Dropout& drop, Stream& stream);

void add_rms_norm_backward(
    View dsum,         // (B, T, C) act: in: gradient from the residual path; out: of x
    View ddelta,       // (B, T, C) act, or empty (then dsum is delta's gradient too when p = 0)
    Gradient dweight,  // (C)
    ConstView dy,      // (B, T, C) act, or empty
    ConstView sum,     // (B, T, C) act
    ConstView rstd,    // (B, T) fp32
    ConstView weight,  // (C) fp32
    float offset, const Dropout& drop, Stream& stream);

// ---- norms of queries and keys

// Which of a token's R heads are normed, in place, and over what: each over its own D elements
// (Qwen3), or all of them over G·D, of which this rank may hold only some (OLMo 2). Queries and
// keys are normed by a call each.
struct HeadNormArgs {
  bool whole = false;
  int first_row = 0;   // of the R heads of a token, the first that is normed …
  int n_heads = 0;     // … and how many: h of them
  int place = 0;       // whole: of the G heads of the model, which one the first is
  int n_repeated = 0;  // whole: so many of the first are another rank's too, which counts them
  float offset = 0, eps = 1e-6f;  // as add_rms_norm's
};

// squares[n, place + i] = Σ_d x², 0 in the other columns and of repeated heads: what ranks have of
// them adds up. Each over its own: G is h, place 0.
void head_squares(View squares,     // (N, G) fp32
                  ConstView heads,  // (N, R, D) act
                  const HeadNormArgs& args, Stream& stream);

// y = x·rstd·(offset + weight), rstd = 1/sqrt(mean(x²) + eps), in place; raw keeps x for backward.
// The mean is over D, or over G·D, of which the squares are added in the order of the heads.
void head_norm(View heads,         // (N, R, D) act, in place
               View raw,           // (N, h, D) act, or empty
               ConstView squares,  // (N, G) fp32
               ConstView weight,   // (D) fp32; whole: (h·D)
               const HeadNormArgs& args, Stream& stream);

// dots[n, place + i] = Σ_d dy·(offset + weight)·x, 0 in the other columns; of repeated heads each
// rank has what its own dy gives.
void head_dots(View dots,         // (N, G) fp32
               ConstView dheads,  // (N, R, D) act
               ConstView raw,     // (N, h, D) act
               ConstView weight,  // as head_norm's
               const HeadNormArgs& args, Stream& stream);

// dx = rstd·(dy·(offset + weight) - x·rstd²·mean(dots)), in place; repeated heads leave the second
// term to the rank that counts them.  dweight += Σ dy·x·rstd.
void head_norm_backward(View dheads,        // (N, R, D) act, in place
                        Gradient dweight,   // as weight
                        ConstView raw,      // (N, h, D) act
                        ConstView squares,  // (N, G) fp32
                        ConstView dots,     // (N, G) fp32
                        ConstView weight,   // as head_norm's
                        const HeadNormArgs& args, Stream& stream);

// ---- activation

enum class Activation : std::uint8_t { gelu_tanh, gelu_erf, silu, relu, tanh };

// y = act(x + bias);  x and y may be the same.
void activation(View y,          // (N, F) act
                ConstView x,     // (N, F) act
                ConstView bias,  // (F) fp32, or empty
                Activation kind, Stream& stream);
// dx = act'(x + bias)·dy;  dbias += Σ_rows dx;  dx and dy may be the same.
void activation_backward(View dx,         // (N, F) act
                         Gradient dbias,  // (F), or empty
                         ConstView dy,    // (N, F) act
                         ConstView x,     // (N, F) act
                         ConstView bias,  // (F) fp32, or empty
                         Activation kind, Stream& stream);

// y = act(g)·u, where [g u] = x + bias: the gate's F columns, then the F columns of what it gates
// (SwiGLU: silu, GeGLU: gelu).
void gated_activation(View y,          // (N, F) act
                      ConstView x,     // (N, 2F) act
                      ConstView bias,  // (2F) fp32, or empty
                      Activation kind, Stream& stream);
// dg = act'(g)·u·dy;  du = act(g)·dy;  dbias += Σ_rows dx;  dx and x may be the same.
void gated_activation_backward(View dx,         // (N, 2F) act
                               Gradient dbias,  // (2F), or empty
                               ConstView dy,    // (N, F) act
                               ConstView x,     // (N, 2F) act
                               ConstView bias,  // (2F) fp32, or empty
                               Activation kind, Stream& stream);

// ---- rope

struct RopeArgs {
  int n_heads = 0;  // of the R rows of a token, the first n_heads are turned: query and key heads
  bool interleaved =
      false;  // pairs (2i, 2i+1) as GPT-J; else (i, i + P/2) as transformers' rotate_half
};

// Turns pair i of the first P of D dims by its angle at the token's position, in place:  (a, b) <-
// (a cos - b sin, b cos + a sin). The table holds cos and sin already scaled (llama3, yarn,
// longrope: the model's concern).
void rope(View heads,           // (N, R, D) act, in place
          ConstView positions,  // (N) i32, rows of the table
          ConstView table,      // (S, 2, P/2) fp32: the cosines, then the sines; P even, at most D
          const RopeArgs& args, Stream& stream);
// Turns gradients back by the same angles (the transpose).
void rope_backward(View heads, ConstView positions, ConstView table, const RopeArgs& args,
                   Stream& stream);  // as rope

// ---- attention

struct AttentionArgs {
  int n_heads = 0;        // H of this rank
  int n_kv_heads = 0;     // Hkv of this rank; divides n_heads
  int head_dim = 0;       // D; on a GPU a multiple of 8, 16 to 256
  float scale = 1;        // of q·k
  float softcap = 0;      // 0: none; else scores become cap·tanh(score/cap), before the mask
  bool causal = true;     // key j is seen by query i iff j <= i …
  int window_left = -1;   // … and j >= i - window_left, where that is not negative
  int window_right = -1;  // … and j <= i + window_right, likewise
  bool packed = false;  // `lengths` holds where sequences begin in the T rows of the one batch row,
                        // not their lengths
  int first_head = 0;   // global index of head 0, for the dropout counter
  int total_heads = 0;  // H of the whole model, likewise
  Dropout drop;         // on the probabilities
};

// out = softmax(softcap(scale · q kᵀ) + mask) v, tile by tile with an online softmax: no (T, T)
// matrix in memory. A query that sees no key gives 0 and lse -inf. Several lengths in one batch:
// padded rows (lengths), or one after the other without padding (packed: tokens see their own
// sequence only; rows past the last begin are padding).
void attention(
    View out,           // (B, T, H, D) act
    View lse,           // (B, H, T) fp32: log of the softmax denominator, for backward
    ConstView qkv,      // (B, T, H + 2 Hkv, D) act: query heads, then key heads, then value heads
    ConstView lengths,  // (B) i32: keys at and past it are padding; packed: (n + 1) i32, ascending
                        // from 0; empty: all T
    const AttentionArgs& args, Stream& stream);

// Recomputes the probabilities from lse; deterministic.
void attention_backward(View dqkv,          // (B, T, H + 2 Hkv, D) act, written
                        ConstView dout,     // (B, T, H, D) act
                        ConstView out,      // (B, T, H, D) act
                        ConstView lse,      // (B, H, T) fp32
                        ConstView qkv,      // (B, T, H + 2 Hkv, D) act
                        ConstView lengths,  // as attention's
                        const AttentionArgs& args, Stream& stream);

// The probabilities that attention multiplies values by, of chosen heads of one sequence, without
// dropout: weights[s] = softmax(softcap(scale · q kᵀ) + mask) of head heads[s], 0 where the mask
// hides a key. A map's bits depend on its own head alone.
void attention_weights(View weights,  // (n, T, T) fp32: n chosen heads, queries, keys
                       ConstView qk,  // (T, R, D) act: query heads, then key heads; of what is
                                      // behind them (attention's values) nothing is read
                       std::span<const int> heads,  // (n) of this rank's H
                       const AttentionArgs& args, Stream& stream);

// New tokens of one sequence among the N rows of a batch, and where its keys and values are cached.
struct CacheSlice {
  std::int64_t first_row = 0;  // of its new tokens among the N
  std::int64_t n_rows = 0;     // new tokens: the prompt at first, then 1
  std::int64_t n_cached = 0;   // tokens already in the cache
  std::int64_t slot = 0;       // row of the page table
};

// The tensors that a pass's layers hand to attention_cached.
struct CachedShape {
  std::int64_t N = 0;             // rows; those of no slice are left alone
  std::int64_t S = 0;             // tokens of a page
  std::int64_t slots = 0, M = 0;  // of the page table; M 0: there is none
  DType act = DType::f32;
  friend bool operator==(const CachedShape&, const CachedShape&) = default;
};

// The slices of a pass, planned once for all layers of the same heads and mask (plan_cached of
// kernels/cached_plan.h). Ops read the table when they run, and how they are launched depends on
// the rest alone, which is rounded up where all slices are short: a graph that was captured with
// one table may be launched with another of the same shape, blocks and joins.
struct CachedPlan {
  ConstView table = {};  // i32, in the memory of the stream's device
  CachedShape shape;
  AttentionArgs args;         // heads and mask
  std::int64_t n_slices = 0;  // that the table has room for
  struct Part {
    std::int64_t entries = 0, tokens = 0, blocks = 0, partials = 0;  // of launches
    bool joins = false;          // some slice has more than one chunk of keys
    double keys = 0, pairs = 0;  // cached tokens read, (query row, key) pairs
  };
  Part split, whole;            // slices that are split over their chunks of keys, and others
  std::int64_t n_partials = 0;  // at most, of any plan of the shape
};

// Elements of a head's keys (or values) of one token in a cache of a dtype: D of fp32 or bf16. Of
// int8 D and behind them the fp32 scale that they are multiplied by, max |x| / 127.
constexpr std::int64_t kv_row_elems(DType kv, std::int64_t D) {
  return kv == DType::i8 ? D + static_cast<std::int64_t>(sizeof(float)) : D;
}

// Appends the new keys and values to the cache, then attends causally to everything cached. Token t
// of slot s lies in page pages[s][t / S], row t % S. A row's bits depend neither on how many rows
// its sequence brings nor on what is beside it: keys are taken in chunks of a fixed length.
// R = kv_row_elems(kv, D); kv is act, on a CPU also bf16 or int8, rounded to once as they come.
void attention_cached(View out,         // (N, H, D) act
                      View k_cache,     // (n_pages, S, Hkv, R) kv
                      View v_cache,     // (n_pages, S, Hkv, R) kv
                      ConstView qkv,    // (N, H + 2 Hkv, D) act
                      ConstView pages,  // (slots, M) i32, in [0, n_pages) where slices reach; S a
                                        // multiple of 64; empty: slot s has page s alone
                      const CachedPlan& plan, const AttentionArgs& args, Stream& stream);

// ---- embedding

// y[n] = table[ids[n] - first_row] where this rank holds the row, else 0;  += when accumulate.
void embedding(View y,           // (N, C) act
               ConstView ids,    // (N) i32
               ConstView table,  // (V_tp, C) fp32, bf16 or fp16, or in panels
               std::int64_t first_row, bool accumulate, Stream& stream);

// dtable[ids[n] - first_row] += dy[n], in the order of n (deterministic).
void embedding_backward(View dtable,    // (V_tp, C) fp32, accumulated into
                        ConstView dy,   // (N, C) act
                        ConstView ids,  // (N) i32
                        std::int64_t first_row, Stream& stream);

// ---- loss

// Columns of logits: the first `n` are of the ids from `first` on, those behind them padding.
struct VocabColumns {
  std::int64_t first = 0, n = 0;
};

// What a vocabulary shard knows of each row's softmax: stats[n] = {max_v z, Σ_v exp(z - max),
// label's z or 0}, where z is the logit, or softcap·tanh(logit/softcap) where softcap is not 0.
void cross_entropy_stats(View stats,        // (N, 3) fp32
                         ConstView logits,  // (N, W) act; padding is not read
                         ConstView labels,  // (N) i32, global ids; kIgnoreLabel: no label
                         VocabColumns columns, float softcap, Stream& stream);

constexpr std::int32_t kIgnoreLabel = -100;  // as torch.nn.functional.cross_entropy

// Joins the shards' stats in order: lse = log Σ exp, loss = lse - label's logit (0 where the label
// is ignored).
void cross_entropy_combine(View loss,         // (N) fp32
                           View lse,          // (N) fp32
                           ConstView stats,   // (shards, N, 3) fp32
                           ConstView labels,  // (N) i32
                           Stream& stream);

// logits <- scale · (softmax(z) - onehot(label)) · dz/dlogit in place; 0 in padding, and in rows
// whose label is ignored.
void cross_entropy_backward(View logits,       // (N, W) act
                            ConstView lse,     // (N) fp32
                            ConstView labels,  // (N) i32
                            VocabColumns columns, float scale, float softcap, Stream& stream);

enum class ElementLoss : std::uint8_t { binary_cross_entropy, squared_error };

// Rows with several labels, or with numbers to meet, as torch's binary_cross_entropy_with_logits
// and mse_loss: loss[m] = mean over n of max(z, 0) - z·t + log(1 + exp(-|z|)), or of (z - t)²;
// 0 where labels[m] is kIgnoreLabel, whatever else it may be. With dlogits: the gradient of
// scale · Σ loss.
void element_loss(View loss,          // (M) fp32
                  View dlogits,       // (M, n) act, may be logits; or empty
                  ConstView logits,   // (M, n) act
                  ConstView labels,   // (M) i32
                  ConstView targets,  // (M, n) fp32
                  ElementLoss kind, float scale, Stream& stream);

// ---- optimizer

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
};

// As torch.optim.AdamW:  w -= lr·wd·w;  m, v <- moments;  w -= lr·m̂/(sqrt(v̂) + eps). One pass
// over all tensors.
void adamw(std::span<const AdamWTensor> tensors,
           ConstView grad_scale,  // (1) fp32: gradients are multiplied by it first; empty: 1
           const AdamWArgs& args, Stream& stream);

// total = Σ x² over all elements of all tensors (fp32), in fp64 over fixed chunks: the result does
// not depend on the number of threads.
void sum_of_squares(View total,  // (1) fp64
                    std::span<const ConstView> tensors, Stream& stream);

// As torch.nn.utils.clip_grad_norm_: scale = min(1, max_norm / (√square + 1e-6)), in fp64; 1 where
// max_norm is 0. NaN stays.
void clip_scale(View scale,        // (1) fp32
                ConstView square,  // (1) fp64: the squared norm
                double max_norm, Stream& stream);

// ---- elementwise

// y += x;   y *= s;   y and x fp32, or bf16 on a GPU (not necessarily both)
void add(View y, ConstView x, Stream& stream);
void scale(View y, float s, Stream& stream);
// y = cap·tanh(x/cap);  x and y may be the same (act)
void soft_cap(View y, ConstView x, float cap, Stream& stream);
// y = x in y's dtype (fp32, bf16, fp16)
void convert(View y, ConstView x, Stream& stream);

// ---- moving

// x = value in every element (fp32, bf16, fp16, fp64 or i32).
void fill(View x, double value, Stream& stream);
// y[m] = x[rows[m]], or 0 where rows[m] is negative
void gather_rows(View y,          // (M, C) act
                 ConstView x,     // (N, C) act
                 ConstView rows,  // (M) i32 below N
                 Stream& stream);
// y[rows[m]] = x[m] where rows[m] is not negative (no row twice), and 0 in all other rows of y
void scatter_rows(View y,          // (N, C) act
                  ConstView x,     // (M, C) act
                  ConstView rows,  // (M) i32 below N
                  Stream& stream);
// Column blocks side by side: whole[n] = [parts_0[n], parts_1[n], …], which lie one behind the
// other in `parts`, block r as (N, held[r]), of whose columns the first widths[r] are taken.
void join_columns(View whole,       // (N, Σ widths) act
                  ConstView parts,  // (N·Σ held) act
                  std::span<const std::int64_t> widths, std::span<const std::int64_t> held,
                  Stream& stream);
// total += Σ x in fp64, in one order
void add_sum(View total,   // (1) fp64
             ConstView x,  // any dims, fp32
             Stream& stream);

// ---- sampling

// How one row's next token is chosen, as transformers' warpers in their order: temperature, top-k,
// top-p, min-p.
struct SampleRow {
  bool greedy = true;      // the likeliest token (the first of equals); what follows is not read
  double temperature = 1;  // > 0; where it would make infinities of fp32 scores, only their
                           // distances from the likeliest are divided by it
  std::int64_t top_k = 0;  // 0: all; those equal to the k-th stay
  double top_p = 1;        // the least likely tokens go while what goes holds at most 1 - top_p (of
                           // equals the first ids go first)
  double min_p = 0;        // tokens less likely than min_p times the likeliest go
  std::int64_t keep = 1;   // so many of the likeliest (of equals the last ids) go for none of these
  double uniform = 0;  // the draw, in [0, 1): the first id at which the sum of probabilities in id
                       // order exceeds it
};

// ids[n] = the chosen token;  logprobs[n] = its log softmax in the raw logits.
void sample(View ids,          // (N) i32
            View logprobs,     // (N) fp32, or empty
            ConstView logits,  // (N, V) act
            std::span<const SampleRow> rows, Stream& stream);
// scores = scores / temperature in fp32, -inf where a token goes: what sample() draws from, for
// choices that it does not know. greedy and uniform are not read.
void warp_logits(View scores,  // (N, V) fp32
                 std::span<const SampleRow> rows, Stream& stream);

}  // namespace weft
