// Attention's probabilities written out, for who looks at them: a tile of rows at a time, the keys
// transposed so that the compiler's vectors run over keys and every sum over D is in order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/soft_cap.h"
#include "kernels/work.h"

namespace weft::cpu {
namespace {

constexpr std::int64_t kRows = 64;  // of a task

struct Keys {
  std::int64_t begin, end;
};

Keys keys_of_row(const AttentionArgs& args, std::int64_t i, std::int64_t T) {
  Keys seen = {0, args.causal ? i + 1 : T};
  if (args.window_left >= 0) seen.begin = std::max<std::int64_t>(0, i - args.window_left);
  if (args.window_right >= 0) seen.end = std::min(seen.end, i + args.window_right + 1);
  return seen;
}

// row (T) of one query (D) over transposed keys (D, T).
void softmax_row(float* row, const float* q, const float* keys, std::int64_t T,
                 const AttentionArgs& args, Keys seen) {
  std::fill(row, row + T, 0.0f);
  for (std::int64_t d = 0; d < args.head_dim; ++d) {
    const float x = q[d];
    const float* key = keys + d * T;
    for (std::int64_t j = seen.begin; j < seen.end; ++j) row[j] += x * key[j];
  }
  float max = -std::numeric_limits<float>::infinity(), sum = 0;
  for (std::int64_t j = seen.begin; j < seen.end; ++j) {
    row[j] = capped(row[j] * args.scale, args.softcap);
    max = std::max(max, row[j]);
  }
  for (std::int64_t j = seen.begin; j < seen.end; ++j) sum += row[j] = std::exp(row[j] - max);
  for (std::int64_t j = seen.begin; j < seen.end; ++j) row[j] /= sum;
}

}  // namespace

void attention_weights(View weights, ConstView qk, std::span<const int> heads,
                       const AttentionArgs& args, Stream& stream) {
  const std::int64_t T = qk.dim(0), D = args.head_dim, stride = qk.dim(1) * D,
                     tiles = (T + kRows - 1) / kRows, group = args.n_heads / args.n_kv_heads;
  const auto* in = qk.as<float>();
  auto* out = weights.as<float>();
  std::vector<float> keys(static_cast<std::size_t>(D * T));
  int transposed = -1;  // KV head
  for (const int head : heads) {
    const int kv = static_cast<int>(head / group);
    if (std::exchange(transposed, kv) != kv)
      parallel_for(stream, T, kRows, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t j = begin; j < end; ++j)
          for (std::int64_t d = 0; d < D; ++d)
            keys[static_cast<std::size_t>(d * T + j)] =
                in[j * stride + (args.n_heads + kv) * D + d];
      });
    parallel_tasks(stream, tiles, [&](std::int64_t tile) {
      const std::int64_t first = (tiles - 1 - tile) * kRows;  // the long ones first if causal
      for (std::int64_t i = first; i < std::min(T, first + kRows); ++i)
        softmax_row(out + i * T, in + i * stride + head * D, keys.data(), T, args,
                    keys_of_row(args, i, T));
    });
    out += T * T;
  }
  const double pairs =
      attention_pairs(0, T, T, args.window_left, args.causal ? 0 : args.window_right);
  count_matmul_flops(stream, kForwardFlopsOfPair / 2 * static_cast<double>(D) *
                                 static_cast<double>(heads.size()) * pairs);
}

}  // namespace weft::cpu
