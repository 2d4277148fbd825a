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
    return fmt::format(
        "B {} T {} H {} Hkv {} D {} causal {} window {}|{} softcap {} lengths [{}] begins [{}] p "
        "{} scale {} std {}",
        B, T, H, Hkv, D, causal, left, right, softcap, fmt::join(lengths, " "),
        fmt::join(begins, " "), p, scale, std);
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
  const std::uint64_t key =
      mix64(drop.seed ^ mix64((static_cast<std::uint64_t>(drop.step) << 32) | drop.site));
  const auto block = static_cast<std::uint64_t>(element / 4),
             s = static_cast<std::uint64_t>(sample);
  const Philox words =
      philox(key, {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                   static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(s >> 32)});
  return uniform(words[static_cast<std::size_t>(element % 4)]) >= drop.p
             ? 1.0 / (1.0 - static_cast<double>(drop.p))
             : 0.0;
}

// A result, and for each element the sum of squares of what bf16 rounds on the way to it:
// probabilities, gradients of scores, the saved out in backward, the result itself.
struct Expected {
  std::vector<double> value, rounded;
  explicit Expected(std::size_t elems = 0) : value(elems, 0), rounded(elems, 0) {}
};

struct AttentionReference {
  Expected out;             // (B, T, H, D)
  Expected dqkv;            // (B, T, H + 2 Hkv, D); 0 without dout
  std::vector<double> lse;  // (B, H, T), -inf where nothing is seen
  double score_size =
      0;  // the largest scale·Σ_d |q_d k_d|: times epsilon, what a score in fp32 is off by

  // e^s turns the absolute error of a score into a relative one of its probability: two epsilon
  // (2^-23) a score.
  double score_error() const { return 0x1p-23 * score_size; }
};

// |actual - value| <= tolerance · (max(rms(value), floor) + |value|), everywhere; in bf16 also
// 3·2^-8·sqrt(rounded) is allowed: a rounding is off by at most 2^-8 of what it rounds and by
// 2^-9.3 in the root mean square, so that is seven standard deviations of their sum.
inline void expect_rounded(const std::vector<float>& actual, const Expected& expected,
                           double tolerance, bool bf16, const std::string& what,
                           double floor = 1e-30) {
  ASSERT_EQ(actual.size(), expected.value.size()) << what;
  double square = 0;
  for (double e : expected.value) square += e * e;
  const double size = std::max(
      std::sqrt(square / static_cast<double>(std::max<std::size_t>(actual.size(), 1))), floor);
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(std::isfinite(actual[i])) << what << "[" << i << "] is " << actual[i];
    const double allowed = tolerance * (size + std::abs(expected.value[i])) +
                           (bf16 ? 3 * 0x1p-8 * std::sqrt(expected.rounded[i]) : 0);
    const double share = std::abs(static_cast<double>(actual[i]) - expected.value[i]) / allowed;
    if (share > worst) {
      worst = share;
      at = i;
    }
  }
  if (actual.empty()) return;
  EXPECT_LE(worst, 1) << what << "[" << at << "] is " << actual[at] << ", expected "
                      << expected.value[at] << " (rms " << size << "), off by " << worst
                      << " times what is allowed";
}

inline AttentionReference attention_reference(const AttentionCase& c, const Tensor& qkv,
                                              const Tensor& dout = {}) {
  const AttentionArgs args = arguments(c);
  const std::int64_t group = c.H / c.Hkv, D = c.D;
  AttentionReference r;
  r.out = Expected(static_cast<std::size_t>(c.B * c.T * c.H * D));
  r.lse.assign(static_cast<std::size_t>(c.B * c.H * c.T), 0);
  r.dqkv = Expected(qkv.data.size());
  const auto add = [](Expected& to, std::size_t e, double term) {  // a term that bf16 rounds
    to.value[e] += term;
    to.rounded[e] += term * term;
  };
  const double scale = args.scale, cap = args.softcap;
  for (std::int64_t b = 0; b < c.B; ++b)
    for (std::int64_t h = 0; h < c.H; ++h)
      for (std::int64_t i = 0; i < c.T; ++i) {
        const auto at = [&](std::int64_t t, std::int64_t row) {
          return static_cast<std::size_t>(((b * c.T + t) * c.rows() + row) * D);
        };
        const auto out_at = static_cast<std::size_t>(((b * c.T + i) * c.H + h) * D),
                   d_end = static_cast<std::size_t>(D);
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
          const double factor = keep_factor(args.drop, args.drop.first_sample + b,
                                            ((args.first_head + h) * c.T + i) * c.T + j);
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
            add(r.out, out_at + d, key.p * key.factor * v);
            if (dout.data.empty()) continue;
            key.dp += key.factor * v * dout.data[out_at + d];
            add(r.dqkv, at(key.j, v_row) + d, key.p * key.factor * dout.data[out_at + d]);
          }
          dot += key.p * key.dp;
        }
        double dot_rounded = 0;  // of Σ_d dout·out, from the roundings of out
        for (std::size_t d = 0; d < d_end; ++d) {
          r.out.rounded[out_at + d] += r.out.value[out_at + d] * r.out.value[out_at + d];
          if (!dout.data.empty())
            dot_rounded += std::pow(dout.data[out_at + d], 2) * r.out.rounded[out_at + d];
        }
        std::vector<double> dq_of_dot(d_end, 0);  // the same error reaches all keys of this query
        for (const Key& key : keys) {
          const double factor = key.p * key.slope * scale, ds = factor * (key.dp - dot);
          for (std::size_t d = 0; d < d_end && !dout.data.empty(); ++d) {
            const double q = qkv.data[at(i, h) + d], k = qkv.data[at(key.j, k_row) + d];
            add(r.dqkv, at(i, h) + d, ds * k);
            add(r.dqkv, at(key.j, k_row) + d, ds * q);
            dq_of_dot[d] += factor * k;
            r.dqkv.rounded[at(key.j, k_row) + d] += factor * factor * q * q * dot_rounded;
          }
        }
        for (std::size_t d = 0; d < d_end && !dout.data.empty(); ++d)
          r.dqkv.rounded[at(i, h) + d] += dq_of_dot[d] * dq_of_dot[d] * dot_rounded;
      }
  for (std::size_t e = 0; e < r.dqkv.value.size(); ++e)
    r.dqkv.rounded[e] += r.dqkv.value[e] * r.dqkv.value[e];
  return r;
}

}  // namespace weft::test
