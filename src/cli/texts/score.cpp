#include "infer/score.h"

#include <cmath>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/texts/serve_texts.h"
#include "core/check.h"
#include "core/utf8.h"
#include "model/limits.h"

namespace weft {
namespace {

struct ScoreOptions : WholeTextOptions {
  bool token_logprobs = false;
  std::optional<std::int64_t> stride;

  void visit(FieldVisitor& v) {
    WholeTextOptions::visit(v, "score");
    v.field("stride", stride, Integers{1, kMaxContext},
            "score longer texts in windows of the model's context, each so many tokens behind the "
            "one before it; loss and perplexity as in transformers' perplexity guide");
    v.field("token_logprobs", token_logprobs, "the log-probability of each token");
  }
};

// NaN: nothing predicts the token. `loss`: NaN where nothing predicts any.
OrderedJson result(std::span<const float> logprobs, double loss, bool tokens) {
  double sum = 0;
  for (float l : logprobs)
    if (!std::isnan(l)) sum += l;
  const bool none = std::isnan(loss);
  OrderedJson line = {{"n_tokens", logprobs.size()}};
  line["loss"] = none ? OrderedJson(nullptr) : OrderedJson(loss);
  line["logprob"] = sum;
  line["perplexity"] = none ? OrderedJson(nullptr) : OrderedJson(std::exp(loss));
  if (!tokens) return line;
  OrderedJson list = OrderedJson::array();
  for (float l : logprobs) list.push_back(std::isnan(l) ? OrderedJson(nullptr) : OrderedJson(l));
  line["token_logprobs"] = std::move(list);
  return line;
}

std::string number(const OrderedJson& value, const char* format) {
  return value.is_null() ? "-" : fmt::format(fmt::runtime(format), value.get<double>());
}

std::string as_text(const Session& session, const Document& d, const OrderedJson& line,
                    std::span<const std::int32_t> ids, std::span<const float> logprobs) {
  std::string text =
      fmt::format("{:<12} {:>6} tokens  loss {:>9}  perplexity {}\n", printable(d.id), ids.size(),
                  number(line["loss"], "{:.4f}"), number(line["perplexity"], "{:.3f}"));
  for (std::size_t i = 0; line.contains("token_logprobs") && i < ids.size(); ++i)
    text += fmt::format("  {:<20} {}\n", printable(session.need_tokenizer().token(ids[i])),
                        std::isnan(logprobs[i]) ? "-" : fmt::format("{:.4f}", logprobs[i]));
  return text;
}

InputRules rules_of(const ScoreOptions& o, const ModelConfig& config, bool masked) {
  CHECK_USER(!o.stride || !masked,
             "--stride is {}, but the model is a masked one, which has no windows; allowed with "
             "causal models",
             *o.stride);
  CHECK_USER(!o.stride || *o.stride <= config.context,
             "--stride is {}; allowed: 1 to {}, the model's context", *o.stride, config.context);
  CHECK_USER(!o.stride || o.truncation.value.empty(),
             "--stride and --truncation are both given; allowed: one of them");
  InputRules rules;
  rules.truncation = o.truncation.value;
  rules.any_length = o.stride.has_value();
  rules.way_out = masked ? "--truncation cuts it"
                         : "--truncation cuts it, --stride N scores it in overlapping windows";
  return rules;
}

}  // namespace

void run_score(const Invocation& invocation) {
  ScoreOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine line = {
      "score",
      "Log-likelihood of each text under the model; of a masked model its pseudo-log-likelihood.",
      nullptr, ""};
  if (!parse_options(line, invocation.args, fields, invocation.mpi.rank() == 0)) return;
  Session session(invocation, o.model, ModelUse::score);
  const bool masked = session.config.head == HeadKind::masked_lm;
  const std::int32_t mask = masked ? session.need_mask_id() : -1;
  TextTask task = {.what = "score", .fields = fields};
  task.rules = rules_of(o, session.config, masked);
  task.run = [&](const TextInputs& in, const TextTask::Put& put) {
    const auto done_with = [&](std::size_t t, std::span<const float> logprobs, double loss) {
      put(t, [&] {
        const Document& d = in.documents[in.numbers[t]];
        const OrderedJson scored = result(logprobs, loss, o.token_logprobs);
        return o.json() ? result_line(d, scored)
                        : as_text(session, d, scored, in.texts[t].ids, logprobs);
      });
    };
    const auto done = [&](std::size_t t, std::span<const float> logprobs) {
      done_with(t, logprobs, mean_loss(logprobs));
    };
    return caught_together([&] {
      if (o.stride)
        return score_in_windows(session.ctx, session.config, *session.parameters, in.texts,
                                *o.stride, done_with);
      if (!masked)
        return score_texts(session.ctx, session.config, *session.parameters, in.texts, done);
      std::vector<std::vector<std::uint8_t>> skipped;
      for (const Encoding& e : in.encodings) skipped.push_back(e.added);
      score_masked_texts(session.ctx, session.config, *session.parameters, in.texts, skipped, mask,
                         done);
    });
  };
  serve_texts(session, invocation, o.texts, task);
}

}  // namespace weft
