// Attention as ops.h states it, pair by pair in double, with its gradients.
#pragma once

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/rng.h"
#include "tests/kernels/close.h"

namespace weft::test {

struct AttentionCase {
  std::int64_t B, T, H, Hkv, D;
  bool causal = true;
  int left = -1, right = -1;
  float softcap = 0;
  std::vector<std::int32_t> lengths = {};  // (B): keys there are
  std::vector<std::int32_t> begins = {};   // (n + 1): packed
  float p = 0;
  float scale = 0;  // 0: 1/sqrt(D)
  float std = 1;    // of queries, keys and values

  std::string name() const {
    return fmt::format("B {} T {} H {} Hkv {} D {} causal {} window {}|{} softcap {} lengths [{}] begins [{}] p {} scale {} std {}", B, T, H, Hkv, D,
                       causal, left, right, softcap, fmt::join(lengths, " "), fmt::join(begins, " "), p, scale, std);
  }
  std::int64_t rows() const { return H + 2 * Hkv; }

  // Whether query i of batch row b sees key j.
  bool sees(std::int64_t b, std::int64_t i, std::int64_t j) const {
    if (causal && j > i) return false;
    if (left >= 0 && j < i - left) return false;
    if (right >= 0 && j > i + right) return false;
    if (!lengths.empty() && j >= lengths[static_cast<std::size_t>(b)]) return false;
    return begins.empty() || (sequence(i) >= 0 && sequence(i) == sequence(j));
  }

  // The packed sequence of a row, -1: padding.
  std::int64_t sequence(std::int64_t row) const {
    const auto next = std::upper_bound(begins.begin(), begins.end(), row);
    return next == begins.end() ? -1 : next - begins.begin() - 1;
  }
};

inline AttentionArgs arguments(const AttentionCase& c) {
  AttentionArgs args;
  args.n_heads = static_cast<int>(c.H);
  args.n_kv_heads = static_cast<int>(c.Hkv);
  args.head_dim = static_cast<int>(c.D);
  args.scale = c.scale > 0 ? c.scale : 1.0f / std::sqrt(static_cast<float>(c.D));
  args.softcap = c.softcap;
  args.causal = c.causal;
  args.window_left = c.left;
  args.window_right = c.right;
  args.packed = !c.begins.empty();
  args.first_head = 5;
  args.total_heads = 16;
  args.drop = {.p = c.p, .seed = 42, .step = 3, .site = 7, .first_sample = 1'000'000'000'007};
  return args;
}

inline double keep_factor(const Dropout& drop, std::int64_t sample, std::int64_t element) {
  if (drop.p == 0) return 1;
  const std::uint64_t key = mix64(drop.seed ^ mix64((static_cast<std::uint64_t>(drop.step) << 32) | drop.site));
  const auto block = static_cast<std::uint64_t>(element / 4), s = static_cast<std::uint64_t>(sample);
  const Philox words = philox(key, {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), static_cast<std::uint32_t>(s),
                                    static_cast<std::uint32_t>(s >> 32)});
  return uniform(words[static_cast<std::size_t>(element % 4)]) >= drop.p ? 1.0 / (1.0 - static_cast<double>(drop.p)) : 0.0;
}

struct AttentionReference {
  std::vector<double> out;    // (B, T, H, D)
  std::vector<double> lse;    // (B, H, T), -inf where nothing is seen
  std::vector<double> dqkv;   // (B, T, H + 2 Hkv, D); 0 without dout
  double score_size = 0;      // the largest scale·Σ_d |q_d k_d|: times epsilon, what a score in fp32 is off by

  // e^s turns the absolute error of a score into a relative one of its probability: two epsilon (2^-23) a score.
  double tolerance(double of_the_sums) const { return of_the_sums + 0x1p-23 * score_size; }
};

inline AttentionReference attention_reference(const AttentionCase& c, const Tensor& qkv, const Tensor& dout = {}) {
  const AttentionArgs args = arguments(c);
  const std::int64_t group = c.H / c.Hkv, D = c.D;
  AttentionReference r;
  r.out.assign(static_cast<std::size_t>(c.B * c.T * c.H * D), 0);
  r.lse.assign(static_cast<std::size_t>(c.B * c.H * c.T), 0);
  r.dqkv.assign(qkv.data.size(), 0);
  const double scale = args.scale, cap = args.softcap;
  for (std::int64_t b = 0; b < c.B; ++b)
    for (std::int64_t h = 0; h < c.H; ++h)
      for (std::int64_t i = 0; i < c.T; ++i) {
        const auto at = [&](std::int64_t t, std::int64_t row) { return static_cast<std::size_t>(((b * c.T + t) * c.rows() + row) * D); };
        const auto out_at = static_cast<std::size_t>(((b * c.T + i) * c.H + h) * D), d_end = static_cast<std::size_t>(D);
        const std::int64_t k_row = c.H + h / group, v_row = k_row + c.Hkv;
        struct Key {
          std::int64_t j;
          double s, slope, p, factor, dp;
        };
        std::vector<Key> keys;
        double max = -INFINITY, sum = 0, dot = 0;
        for (std::int64_t j = 0; j < c.T; ++j) {
          if (!c.sees(b, i, j)) continue;
          double s = 0, size = 0;
          for (std::size_t d = 0; d < d_end; ++d) {
            const double product = scale * qkv.data[at(i, h) + d] * qkv.data[at(j, k_row) + d];
            s += product;
            size += std::abs(product);
          }
          const double t = cap > 0 ? std::tanh(s / cap) : 0;
          const double factor = keep_factor(args.drop, args.drop.first_sample + b, ((args.first_head + h) * c.T + i) * c.T + j);
          keys.push_back({j, cap > 0 ? cap * t : s, 1 - t * t, 0, factor, 0});
          max = std::max(max, keys.back().s);
          r.score_size = std::max(r.score_size, size);
        }
        for (Key& key : keys) sum += key.p = std::exp(key.s - max);
        r.lse[static_cast<std::size_t>((b * c.H + h) * c.T + i)] = max + std::log(sum);
        for (Key& key : keys) {
          key.p /= sum;
          for (std::size_t d = 0; d < d_end; ++d) {
            const double v = qkv.data[at(key.j, v_row) + d];
            r.out[out_at + d] += key.p * key.factor * v;
            if (dout.data.empty()) continue;
            key.dp += key.factor * v * dout.data[out_at + d];
            r.dqkv[at(key.j, v_row) + d] += key.p * key.factor * dout.data[out_at + d];
          }
          dot += key.p * key.dp;
        }
        for (const Key& key : keys) {
          const double ds = key.p * (key.dp - dot) * key.slope * scale;
          for (std::size_t d = 0; d < d_end && !dout.data.empty(); ++d) {
            r.dqkv[at(i, h) + d] += ds * qkv.data[at(key.j, k_row) + d];
            r.dqkv[at(key.j, k_row) + d] += ds * qkv.data[at(i, h) + d];
          }
        }
      }
  return r;
}

}  // namespace weft::test
