#include "infer/classify.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/host_copy.h"
#include "infer/sampler.h"

namespace weft {

void classify_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                    std::span<const TokenizedText> texts,
                    const std::function<void(std::size_t, std::span<const float>)>& done) {
  const auto n = static_cast<std::size_t>(config.n_labels);
  const bool by_token = config.head == HeadKind::classify_tokens;
  PassTask task;
  task.max_logit_rows = by_token ? 0 : 64;
  task.n_values = [=](const TextPass& pass) { return n * (by_token ? pass.ids.size() : pass.n); };
  task.text_of = [=](const TextPass& pass, std::size_t value) {
    return by_token ? pass.text_at(static_cast<std::int64_t>(value / n)) : value / n;
  };
  task.compute = [&](InferencePass& inference, ConstView hidden, const TextPass& pass,
                     std::span<float> out) {
    std::vector<std::int64_t> ends = pass.ends;
    for (std::size_t t = 0; t < ends.size() && config.pooling == Pooling::last_token; ++t) {
      const auto begin = static_cast<std::size_t>(pass.begins[t]),
                 size = static_cast<std::size_t>(pass.ends[t]) - begin;
      ends[t] =
          pass.begins[t] + classified_end(config.pad_id, std::span(pass.ids).subspan(begin, size));
    }
    std::vector<std::int64_t> rows = labelled_rows(config, pass.begins, ends);
    if (by_token) {
      rows.resize(pass.ids.size());
      std::iota(rows.begin(), rows.end(), 0);
    }
    HostCopy copy;
    const ConstView logits = copy.floats(inference.labels(hidden, rows), ctx.stream);
    std::copy_n(logits.as<float>(), out.size(), out.begin());
  };
  task.done = [&](const TextPass& pass, std::span<const float> values) {
    for (std::size_t t = 0; t < pass.n; ++t) {
      const auto begin = by_token ? static_cast<std::size_t>(pass.begins[t]) : t,
                 end = by_token ? static_cast<std::size_t>(pass.ends[t]) : t + 1;
      done(pass.first + t, values.subspan(begin * n, (end - begin) * n));
    }
  };
  run_texts(ctx, config, parameters, texts, task);
}

std::vector<double> label_probabilities(const ModelConfig& config, std::span<const float> logits) {
  std::vector<double> p(logits.begin(), logits.end());
  const bool tokens = config.head == HeadKind::classify_tokens;
  if (!tokens && config.problem == Problem::regression) return p;
  if (!tokens && (config.problem == Problem::multi_label || p.size() == 1)) {
    for (double& x : p) x = 1 / (1 + std::exp(-x));
    return p;
  }
  const double most = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& x : p) sum += x = std::exp(x - most);
  for (double& x : p) x /= sum;
  return p;
}

void fill_texts(
    const Context& ctx, const ModelConfig& config, const Parameters& parameters,
    std::span<const TokenizedText> texts, std::int32_t mask_id, std::int64_t top_k,
    const std::function<void(std::size_t, const std::vector<std::vector<Candidate>>&)>& done) {
  constexpr std::size_t kBlock = 64;  // masks whose logits are held at once
  const auto k = static_cast<std::size_t>(std::min(top_k, config.vocab));
  const auto masks_of = [mask_id](const TextPass& pass) {
    std::vector<std::int64_t> rows;
    for (std::size_t i = 0; i < pass.ids.size(); ++i)
      if (pass.ids[i] == mask_id) rows.push_back(static_cast<std::int64_t>(i));
    return rows;
  };
  PassTask task;
  task.max_logit_rows = kBlock;
  task.text_of = [&](const TextPass& pass, std::size_t value) {
    return pass.text_at(masks_of(pass)[value / (k * 3)]);
  };
  // An id and a probability each; the id's bits travel as a float's, in two halves that are exact.
  task.n_values = [&](const TextPass& pass) { return masks_of(pass).size() * k * 3; };
  task.compute = [&](InferencePass& inference, ConstView hidden, const TextPass& pass,
                     std::span<float> out) {
    const std::vector<std::int64_t> rows = masks_of(pass);
    HostCopy copy;
    std::vector<std::int32_t> order(static_cast<std::size_t>(config.vocab));
    float* to = out.data();
    for (std::size_t begin = 0; begin < rows.size(); begin += kBlock) {
      const std::size_t n = std::min(kBlock, rows.size() - begin);
      const ConstView logits =
          copy.floats(inference.logits(hidden, std::span(rows).subspan(begin, n)), ctx.stream);
      for (std::size_t r = 0; r < n; ++r) {
        const float* z = logits.as<float>() + static_cast<std::int64_t>(r) * config.vocab;
        if (!are_logits({z, order.size()})) {
          // Cannot be ranked; run_texts says so on every rank.
          to = std::fill_n(to, k * 3, std::numeric_limits<float>::quiet_NaN());
          continue;
        }
        std::iota(order.begin(), order.end(), 0);
        const auto likelier = [z](std::int32_t a, std::int32_t b) {
          return z[a] != z[b] ? z[a] > z[b] : a < b;
        };
        std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k),
                          order.end(), likelier);
        const double most = static_cast<double>(z[order[0]]);
        double sum = 0;
        for (std::int64_t v = 0; v < config.vocab; ++v)
          sum += std::exp(static_cast<double>(z[v]) - most);
        for (std::size_t i = 0; i < k; ++i) {
          *to++ = static_cast<float>(order[i] >> 16);
          *to++ = static_cast<float>(order[i] & 0xFFFF);
          *to++ = static_cast<float>(std::exp(static_cast<double>(z[order[i]]) - most) / sum);
        }
      }
    }
  };
  task.done = [&](const TextPass& pass, std::span<const float> values) {
    const std::vector<std::int64_t> rows = masks_of(pass);
    const float* from = values.data();
    std::size_t r = 0;
    for (std::size_t t = 0; t < pass.n; ++t) {
      std::vector<std::vector<Candidate>> all;
      for (; r < rows.size() && rows[r] < pass.ends[t]; ++r) {
        std::vector<Candidate>& list = all.emplace_back();
        for (std::size_t i = 0; i < k; ++i, from += 3)
          list.push_back(
              {static_cast<std::int32_t>(from[0]) << 16 | static_cast<std::int32_t>(from[1]),
               static_cast<double>(from[2])});
      }
      done(pass.first + t, all);
    }
  };
  run_texts(ctx, config, parameters, texts, task);
}

}  // namespace weft
