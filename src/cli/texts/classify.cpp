#include "infer/classify.h"

#include <algorithm>
#include <numeric>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/texts/serve_texts.h"
#include "core/check.h"
#include "core/utf8.h"

namespace weft {
namespace {

struct ClassifyOptions : WholeTextOptions {
  std::vector<std::string> text_pair;
  std::string pair_field;
  std::int64_t top_k = 1;

  void visit(FieldVisitor& v) {
    WholeTextOptions::visit(v, "classify");
    v.field("text_pair", text_pair,
            "the second text of a pair, one for each text (repeatable); in files: --pair-field");
    v.field("pair_field", pair_field,
            "JSONL field or table column of the second text; unset: text_pair, where there is one");
    v.field(
        "top_k", top_k, Integers{0, kAnyInteger.max, "all"},
        "labels to list, the most probable first; 0: all; unless 1 a JSON line has them as `top`");
  }
};

// Labels by probability, the most probable first; of equals the first.
std::vector<std::size_t> ranked(const std::vector<double>& p, std::int64_t top_k) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p[a] > p[b]; });
  if (top_k > 0) order.resize(std::min(order.size(), static_cast<std::size_t>(top_k)));
  return order;
}

OrderedJson text_line(const ModelConfig& c, std::span<const float> logits, std::int64_t top_k) {
  const std::vector<double> p = label_probabilities(c, logits);
  const std::vector<std::size_t> order = ranked(p, top_k);
  OrderedJson line = {{"label", c.labels[order[0]]},
                      {"score", p[order[0]]},
                      {"logits", logits},
                      {"probabilities", p}};
  if (top_k == 1) return line;
  for (std::size_t i : order) line["top"].push_back({{"label", c.labels[i]}, {"score", p[i]}});
  return line;
}

// A token classifier's line: the label of each token that is not one put around the text.
OrderedJson token_line(const Session& s, const Encoding& e, std::span<const float> logits) {
  OrderedJson line = {{"tokens", OrderedJson::array()}};
  const auto n = static_cast<std::size_t>(s.config.n_labels);
  for (std::size_t t = 0; t < e.ids.size(); ++t) {
    if (e.added[t]) continue;
    const std::span<const float> own = logits.subspan(t * n, n);
    const std::vector<double> p = label_probabilities(s.config, own);
    const std::size_t best = ranked(p, 1)[0];
    line["tokens"].push_back({{"token", made_utf8(s.tokenizer->token(e.ids[t]))},
                              {"label", s.config.labels[best]},
                              {"score", p[best]},
                              {"logits", own},
                              {"probabilities", p}});
  }
  return line;
}

std::string as_text(const Document& document, const OrderedJson& line) {
  const std::string id = printable(document.id);
  std::string text;
  if (line.contains("tokens")) {
    text = id + "\n";
    for (const OrderedJson& t : line["tokens"])
      text += fmt::format("  {:<20} {:<20} {:.4f}\n", t["token"].get<std::string>(),
                          t["label"].get<std::string>(), t["score"].get<double>());
    return text;
  }
  const OrderedJson top =
      line.contains("top")
          ? line["top"]
          : OrderedJson::array({{{"label", line["label"]}, {"score", line["score"]}}});
  for (const OrderedJson& t : top)
    text += fmt::format("{:<12} {:<20} {:.4f}\n", id, t["label"].get<std::string>(),
                        t["score"].get<double>());
  return text;
}

}  // namespace

void run_classify(const Invocation& invocation) {
  ClassifyOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options(
          {"classify", "Label, probability and logits of each text or pair.", nullptr, ""},
          invocation.args, fields, invocation.mpi.rank() == 0))
    return;
  Session session(invocation, o.model, ModelUse::label);
  TextTask task = {.what = "classify", .fields = fields};
  task.rules = {.pairs = o.text_pair, .pair_field = o.pair_field};
  task.rules.truncation = o.truncation.value;
  task.rules.way_out = "--truncation cuts it";
  const bool by_token = session.config.head == HeadKind::classify_tokens;
  task.run = [&](const TextInputs& in, const TextTask::Put& put) {
    const auto done = [&](std::size_t t, std::span<const float> logits) {
      put(t, [&] {
        const Document& document = in.documents[in.numbers[t]];
        const OrderedJson line = by_token ? token_line(session, in.encodings[t], logits)
                                          : text_line(session.config, logits, o.top_k);
        return o.json() ? result_line(document, line) : as_text(document, line);
      });
    };
    return caught_together(
        [&] { classify_texts(session.ctx, session.config, *session.parameters, in.texts, done); });
  };
  serve_texts(session, invocation, o.texts, task);
}

}  // namespace weft
