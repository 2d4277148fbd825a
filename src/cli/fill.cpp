#include "cli/command.h"
#include "cli/options.h"
#include "cli/results.h"
#include "cli/text_inputs.h"
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
  InputRules rules;
  rules.objection = [&](const Encoding& e) {
    return std::find(e.ids.begin(), e.ids.end(), mask) != e.ids.end()
               ? ""
               : fmt::format("has no {}; put one where a token is to be found",
                             tokenizer.token(mask));
  };
  TextInputs in = read_inputs(session, o.texts, rules);
  session.watch_time(true);
  JobLog log = session.open_log(invocation, "fill", fields, in.documents.size());
  session.load_weights();
  ResultWriter results(session, o.texts.out, in.documents.size());
  log.begin();
  const auto ended = caught_together([&] {
    fill_texts(session.ctx, session.config, *session.parameters, in.texts, mask, o.top_k,
               [&](std::size_t t, const std::vector<std::vector<Candidate>>& masks) {
                 if (!results.mine()) return;
                 const auto timed = time_as(session.ctx, TimeShare::data);
                 const std::vector<std::int32_t>& ids = in.texts[t].ids;
                 const Document& document = in.documents[in.numbers[t]];
                 OrderedJson line = {{"candidates", OrderedJson::array()}};
                 std::string text;
                 std::size_t position = 0;
                 for (const std::vector<Candidate>& list : masks) {
                   while (ids[position] != mask) ++position;
                   for (const Candidate& c : list) {
                     const std::string token = made_utf8(tokenizer.token(c.id));
                     line["candidates"].push_back({{"position", position},
                                                   {"token", token},
                                                   {"id", c.id},
                                                   {"score", c.probability}});
                     text += fmt::format("{:<12} {:>5}  {:<20} {:.4f}\n", printable(document.id),
                                         position, token, c.probability);
                   }
                   ++position;
                 }
                 results.put(in.numbers[t], o.texts.as_lines() ? result_line(document, line) : text,
                             in.work(t));
                 log.progress(results.work());
               });
  });
  in.rejects.finish(session, o.texts.out, in.n_texts, results.finish(ended, log));
}

}  // namespace weft
