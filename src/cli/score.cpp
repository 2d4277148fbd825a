#include "infer/score.h"

#include <cmath>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/session.h"
#include "core/check.h"

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

OrderedJson result(const Document& d, std::size_t n_tokens, std::span<const float> logprobs, bool tokens) {
  double sum = 0;
  for (float l : logprobs) sum += l;
  const bool any = !logprobs.empty();
  const double loss = any ? -sum / static_cast<double>(logprobs.size()) : 0;
  OrderedJson line = {{"id", d.id}, {"n_tokens", n_tokens}};
  line["loss"] = any ? OrderedJson(loss) : OrderedJson(nullptr);  // one token alone is predicted by nothing
  line["logprob"] = sum;
  line["perplexity"] = any ? OrderedJson(std::exp(loss)) : OrderedJson(nullptr);
  if (tokens) {
    OrderedJson list = OrderedJson::array();
    if (n_tokens > 0) list.push_back(nullptr);
    for (float l : logprobs) list.push_back(l);
    line["token_logprobs"] = std::move(list);
  }
  return line;
}

}  // namespace

void run_score(const Invocation& invocation) {
  ScoreOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options({"score", "Log-likelihood of each text under the model.", nullptr, ""}, invocation.args, fields, invocation.mpi.world()->rank() == 0)) return;
  Session session(invocation, o.model);
  const std::vector<Document> documents = read_texts(o.texts, session.grid.world());
  std::vector<std::vector<std::int32_t>> mine;
  std::vector<std::size_t> numbers;
  for (std::size_t i = 0; i < documents.size(); ++i) {
    std::vector<std::int32_t> ids = session.need_tokenizer().encode(documents[i].text).ids;
    CHECK_USER(static_cast<std::int64_t>(ids.size()) <= session.config.context, "text {} has {} tokens, but the model's context holds {}", documents[i].id,
               ids.size(), session.config.context);
    if (i % static_cast<std::size_t>(session.grid.shape().dp) != static_cast<std::size_t>(session.grid.dp().rank())) continue;
    mine.push_back(std::move(ids));
    numbers.push_back(i);
  }
  session.load_weights();
  ResultWriter results(session, o.texts.out, documents.size());
  const bool json = o.texts.json || !o.texts.out.empty();
  score_texts(session.ctx, session.config, *session.parameters, mine, [&](std::size_t t, std::span<const float> logprobs) {
    if (!results.mine()) return;
    const OrderedJson line = result(documents[numbers[t]], mine[t].size(), logprobs, o.token_logprobs);
    if (json) return results.put(numbers[t], line.dump() + "\n");
    std::string text = fmt::format("{:<12} {:>6} tokens  loss {:>9}  perplexity {}\n", line["id"].get<std::string>(), mine[t].size(),
                                   line["loss"].is_null() ? "-" : fmt::format("{:.4f}", line["loss"].get<double>()),
                                   line["perplexity"].is_null() ? "-" : fmt::format("{:.3f}", line["perplexity"].get<double>()));
    if (o.token_logprobs)
      for (std::size_t i = 0; i < mine[t].size(); ++i)
        text += fmt::format("  {:<20} {}\n", session.need_tokenizer().token(mine[t][i]), i == 0 ? "-" : fmt::format("{:.4f}", logprobs[i - 1]));
    results.put(numbers[t], text);
  });
  results.finish();
}

}  // namespace weft
