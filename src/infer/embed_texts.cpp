#include "infer/embed_texts.h"

#include <algorithm>
#include <cmath>

#include "core/host_copy.h"

namespace weft {
namespace {

// out (C) from rows (n, C).
void pool(TextPooling pooling, const float* rows, std::int64_t n, std::int64_t C, float* out) {
  if (n == 0) return std::fill(out, out + C, 0.0f);
  if (pooling == TextPooling::cls) return static_cast<void>(std::copy(rows, rows + C, out));
  if (pooling == TextPooling::last)
    return static_cast<void>(std::copy(rows + (n - 1) * C, rows + n * C, out));
  for (std::int64_t c = 0; c < C; ++c) {
    double sum = 0;
    float most = rows[c];
    for (std::int64_t r = 0; r < n; ++r) {
      sum += static_cast<double>(rows[r * C + c]);
      most = std::max(most, rows[r * C + c]);
    }
    const auto mean = static_cast<float>(sum / static_cast<double>(n));
    // std::max passes over NaN, a sum does not.
    out[c] = pooling == TextPooling::max && std::isfinite(mean) ? most : mean;
  }
}

void to_unit_length(std::span<float> x) {
  double square = 0;
  for (float v : x) square += static_cast<double>(v) * static_cast<double>(v);
  const double length = std::max(std::sqrt(square), 1e-12);  // as torch.nn.functional.normalize
  for (float& v : x) v = static_cast<float>(static_cast<double>(v) / length);
}

}  // namespace

void embed_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                 std::span<const TokenizedText> texts, const EmbedSettings& settings,
                 const std::function<void(std::size_t, std::span<const float>)>& done) {
  const std::int64_t C = config.width;
  const bool none = settings.pooling == TextPooling::none;
  PassTask task;
  task.layer = settings.layer == config.layers ? -1 : settings.layer;
  task.n_values = [=](const TextPass& pass) {
    return static_cast<std::size_t>(C) * (none ? pass.ids.size() : pass.n);
  };
  task.text_of = [=](const TextPass& pass, std::size_t value) {
    const std::size_t n = value / static_cast<std::size_t>(C);
    return none ? pass.text_at(static_cast<std::int64_t>(n)) : n;
  };
  task.compute = [&](InferencePass&, ConstView hidden, const TextPass& pass, std::span<float> out) {
    HostCopy copy;
    const float* rows = copy.floats(hidden, ctx.stream).as<float>();
    if (none) std::copy(rows, rows + hidden.elems(), out.begin());
    for (std::size_t t = 0; t < pass.n && !none; ++t)
      pool(settings.pooling, rows + pass.begins[t] * C, pass.ends[t] - pass.begins[t], C,
           out.data() + static_cast<std::int64_t>(t) * C);
    for (std::size_t at = 0; settings.normalize && at < out.size();
         at += static_cast<std::size_t>(C))
      to_unit_length(out.subspan(at, static_cast<std::size_t>(C)));
  };
  task.done = [&](const TextPass& pass, std::span<const float> values) {
    for (std::size_t t = 0; t < pass.n; ++t) {
      const auto begin = none ? pass.begins[t] : static_cast<std::int64_t>(t),
                 end = none ? pass.ends[t] : static_cast<std::int64_t>(t) + 1;
      done(pass.first + t, values.subspan(static_cast<std::size_t>(begin * C),
                                          static_cast<std::size_t>((end - begin) * C)));
    }
  };
  run_texts(ctx, config, parameters, texts, task);
}

}  // namespace weft
