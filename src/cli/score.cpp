#include "infer/score.h"

#include <cmath>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/text_inputs.h"

namespace weft {
namespace {

struct ScoreOptions {
  ModelOptions model;
  TextOptions texts;
  bool token_logprobs = false;

  void visit(FieldVisitor& v) {
    model.visit(v);
    texts.visit(v, false);
    v.group("score");
    v.field("token_logprobs", token_logprobs, "the log-probability of each token");
  }
};

// NaN: nothing predicts the token.
OrderedJson result(const Document& d, std::span<const float> logprobs, bool tokens) {
  double sum = 0;
  std::size_t n = 0;
  for (float l : logprobs) {
    if (std::isnan(l)) continue;
    sum += l;
    ++n;
  }
  const double loss = n > 0 ? -sum / static_cast<double>(n) : 0;
  OrderedJson line = {{"id", d.id}, {"n_tokens", logprobs.size()}};
  line["loss"] =
      n > 0 ? OrderedJson(loss) : OrderedJson(nullptr);  // one token alone is predicted by nothing
  line["logprob"] = sum;
  line["perplexity"] = n > 0 ? OrderedJson(std::exp(loss)) : OrderedJson(nullptr);
  if (!tokens) return line;
  OrderedJson list = OrderedJson::array();
  for (float l : logprobs) list.push_back(std::isnan(l) ? OrderedJson(nullptr) : OrderedJson(l));
  line["token_logprobs"] = std::move(list);
  return line;
}

std::string number(const OrderedJson& value, const char* format) {
  return value.is_null() ? "-" : fmt::format(fmt::runtime(format), value.get<double>());
}

std::string as_text(const Session& session, const OrderedJson& line,
                    std::span<const std::int32_t> ids, std::span<const float> logprobs,
                    bool tokens) {
  std::string text =
      fmt::format("{:<12} {:>6} tokens  loss {:>9}  perplexity {}\n", line["id"].get<std::string>(),
                  ids.size(), number(line["loss"], "{:.4f}"), number(line["perplexity"], "{:.3f}"));
  for (std::size_t i = 0; tokens && i < ids.size(); ++i)
    text += fmt::format("  {:<20} {}\n", session.need_tokenizer().token(ids[i]),
                        std::isnan(logprobs[i]) ? "-" : fmt::format("{:.4f}", logprobs[i]));
  return text;
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
  const TextInputs in = read_inputs(session, o.texts);
  session.load_weights();
  ResultWriter results(session, o.texts.out, in.documents.size());
  const bool json = o.texts.json || !o.texts.out.empty();
  const auto done = [&](std::size_t t, std::span<const float> logprobs) {
    if (!results.mine()) return;
    const OrderedJson result_line = result(in.documents[in.numbers[t]], logprobs, o.token_logprobs);
    results.put(in.numbers[t],
                json ? result_line.dump() + "\n"
                     : as_text(session, result_line, in.texts[t].ids, logprobs, o.token_logprobs));
  };
  if (!masked) {
    score_texts(session.ctx, session.config, *session.parameters, in.texts, done);
  } else {
    std::vector<std::vector<std::uint8_t>> skipped;
    for (const Encoding& e : in.encodings) skipped.push_back(e.added);
    score_masked_texts(session.ctx, session.config, *session.parameters, in.texts, skipped, mask,
                       done);
  }
  results.finish();
}

}  // namespace weft
