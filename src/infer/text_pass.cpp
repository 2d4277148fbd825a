#include "infer/text_pass.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "comm/agreement.h"
#include "comm/pass_limit.h"

namespace weft {
namespace {

constexpr std::size_t kMaxTexts = 64;  // of a pass: slots of the cache

TextPass next_pass(const TextSource& texts, std::size_t first, std::int64_t max_rows) {
  TextPass pass;
  pass.first = first;
  bool typed = false;
  for (std::size_t t = first; t < texts.n && pass.n < kMaxTexts; ++t) {
    const auto at = static_cast<std::int64_t>(pass.ids.size()), n = texts.length(t);
    if (pass.n > 0 && at + n > max_rows) break;
    const TokenizedText text = texts.text(t);
    if (n > 0) pass.slices.push_back({at, n, 0, static_cast<std::int64_t>(pass.n)});
    pass.begins.push_back(at);
    pass.ends.push_back(at + n);
    pass.names.push_back(text.name.empty() ? fmt::format("text {}", t) : text.name);
    pass.ids.insert(pass.ids.end(), text.ids.begin(), text.ids.end());
    pass.types.insert(pass.types.end(), text.types.begin(), text.types.end());
    pass.types.resize(pass.ids.size(), 0);
    typed = typed || !text.types.empty();
    ++pass.n;
  }
  if (!typed) pass.types.clear();
  return pass;
}

void check_finite(const PassTask& task, const TextPass& pass, std::span<const float> values) {
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad == values.end()) return;
  const auto value = static_cast<std::size_t>(bad - values.begin());
  throw NotFinite(fmt::format("{}: the model's results are not finite (NaN or infinity)",
                              pass.names[task.text_of(pass, value)]));
}

}  // namespace

std::optional<Failure> caught_together(const std::function<void()>& body) {
  try {
    body();
  } catch (const NotFinite& error) {
    return Failure{FailureKind::program, error.what()};
  } catch (const Interrupted& error) {
    return Failure{FailureKind::interrupted, error.what()};
  }
  return std::nullopt;
}

std::size_t TextPass::text_at(std::int64_t row) const {
  return static_cast<std::size_t>(std::upper_bound(ends.begin(), ends.end(), row) - ends.begin());
}

void run_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
               std::span<const TokenizedText> texts, const PassTask& task) {
  const TextSource source = {
      .n = texts.size(),
      .length = [=](std::size_t t) { return static_cast<std::int64_t>(texts[t].ids.size()); },
      .text = [=](std::size_t t) { return texts[t]; }};
  run_texts(ctx, config, parameters, source, task);
}

void run_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
               const TextSource& texts, const PassTask& task, std::int64_t max_rows) {
  std::int64_t longest = 1, all = 0;
  for (std::size_t t = 0; t < texts.n; ++t) {
    longest = std::max(longest, texts.length(t));
    all += texts.length(t);
  }
  const auto slots = static_cast<std::int64_t>(std::clamp<std::size_t>(texts.n, 1, kMaxTexts));
  CHECK(longest <= config.context || config.positions == Positions::rope,
        "a text of {} tokens for a context of {}", longest, config.context);
  const std::int64_t rows = std::max(longest, std::min({max_rows, all, slots * longest}));
  const InferenceShape shape = {
      .slots = slots,
      .S = longest,
      .max_rows = std::max(rows, slots),  // labels are asked for of texts without rows, too
      .max_logit_rows = task.max_logit_rows > 0 ? task.max_logit_rows : rows,
      .whole_texts = !config.causal};
  InferencePass inference(ctx, config, parameters, shape);
  const Grid& grid = ctx.grid;
  const int last_stage = (grid.shape().pp - 1) * grid.shape().tp;
  std::vector<float> values;
  if (ctx.limit) ctx.limit->begin();
  for (std::size_t first = 0; first < texts.n;) {
    if (ctx.limit) {
      const auto timed = time_as(ctx, TimeShare::comm);
      if (const auto ended = ctx.limit->ended(grid.replica(), ctx.stream)) rethrow(*ended);
    }
    const TextPass pass = [&] {
      const auto timed = time_as(ctx, TimeShare::data);
      return next_pass(texts, first, rows);
    }();
    values.assign(task.n_values(pass), 0.0f);
    if (!pass.ids.empty()) {
      {
        const auto timed = time_as(ctx, TimeShare::forward);
        const ConstView hidden = task.layer < 0 ? inference.hidden(pass.rows())
                                                : inference.hidden_at(pass.rows(), task.layer);
        if (grid.is_last_stage()) task.compute(inference, hidden, pass, values);
      }
      // Stages before the last wait for it here.
      const auto timed = time_as(ctx, grid.is_last_stage() ? TimeShare::comm : TimeShare::bubble);
      if (grid.replica().size() > 1 && !values.empty())
        grid.replica().broadcast(
            View(values.data(), Dims{static_cast<std::int64_t>(values.size())}), last_stage,
            ctx.stream);
    }
    check_finite(task, pass, values);
    task.done(pass, values);
    first += pass.n;
  }
}

}  // namespace weft
