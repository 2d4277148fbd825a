#include "cli/command.h"
#include "cli/options.h"
#include "cli/texts/serve_texts.h"
#include "core/check.h"
#include "core/utf8.h"
#include "infer/classify.h"

namespace weft {
namespace {

struct FillOptions {
  ModelOptions model;
  TextOptions texts;
  std::int64_t top_k = 5;

  void visit(FieldVisitor& v) {
    model.visit(v);
    texts.visit(v, false);
    v.group("fill");
    v.field("top_k", top_k, Integers{1}, "candidates for each mask");
  }
};

// The candidates of each mask of a text, as a line or for a terminal.
std::string result(const FillOptions& o, const Document& document, const Tokenizer& tokenizer,
                   std::span<const std::int32_t> ids, std::int32_t mask,
                   const std::vector<std::vector<Candidate>>& masks) {
  OrderedJson line = {{"candidates", OrderedJson::array()}};
  std::string text;
  std::size_t position = 0;
  for (const std::vector<Candidate>& list : masks) {
    while (ids[position] != mask) ++position;
    for (const Candidate& c : list) {
      const std::string token = made_utf8(tokenizer.token(c.id));
      line["candidates"].push_back(
          {{"position", position}, {"token", token}, {"id", c.id}, {"score", c.probability}});
      text += fmt::format("{:<12} {:>5}  {:<20} {:.4f}\n", printable(document.id), position, token,
                          c.probability);
    }
    ++position;
  }
  return o.texts.as_lines() ? result_line(document, line) : text;
}

}  // namespace

void run_fill(const Invocation& invocation) {
  FillOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options(
          {"fill", "Candidates for each mask token of a text, by their probability.", nullptr, ""},
          invocation.args, fields, invocation.mpi.rank() == 0))
    return;
  Session session(invocation, o.model, ModelUse::fill);
  check_allowed("--top-k", o.top_k, Integers{1, session.config.vocab});
  const std::int32_t mask = session.need_mask_id();
  const Tokenizer& tokenizer = session.need_tokenizer();
  TextTask task = {.what = "fill", .fields = fields};
  task.rules.objection = [&](const Encoding& e) {
    return std::find(e.ids.begin(), e.ids.end(), mask) != e.ids.end()
               ? ""
               : fmt::format("has no {}; put one where a token is to be found",
                             tokenizer.token(mask));
  };
  task.run = [&](const TextInputs& in, const TextTask::Put& put) {
    const auto done = [&](std::size_t t, const std::vector<std::vector<Candidate>>& masks) {
      put(t, [&] {
        return result(o, in.documents[in.numbers[t]], tokenizer, in.texts[t].ids, mask, masks);
      });
    };
    return caught_together([&] {
      fill_texts(session.ctx, session.config, *session.parameters, in.texts, mask, o.top_k, done);
    });
  };
  serve_texts(session, invocation, o.texts, task);
}

}  // namespace weft
