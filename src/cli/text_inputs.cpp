#include "cli/text_inputs.h"

#include "core/check.h"
#include "core/utf8.h"

namespace weft {
namespace {

// The pieces of all documents; those that cannot be cut are rejected.
std::vector<Document> cut(const std::vector<Document>& documents, const InputRules& rules,
                          Rejects& rejects) {
  std::vector<Document> all;
  for (const Document& d : documents)
    rejects.serve(d, [&] {
      for (Document& piece : rules.pieces(d)) all.push_back(std::move(piece));
    });
  return all;
}

}  // namespace

Encoding encode_text(const Session& session, const Document& d, const InputRules& rules) {
  EncodeOptions how;
  if (!rules.truncation.empty()) {
    Truncation cut;
    cut.max_length = static_cast<decltype(cut.max_length)>(session.config.context);
    cut.left = rules.truncation == "left";
    how.truncation = cut;
  }
  Encoding e = std::move(session.need_tokenizer().encode(d.text, d.pair, how).front());
  session.check_ids("text " + d.id, e.ids);
  try {
    if (!rules.any_length) session.check_length("text " + d.id, e.ids.size());
  } catch (const UserError& error) {
    user_error("{}{}", error.what(), rules.way_out.empty() ? "" : "; " + rules.way_out);
  }
  const std::string objection = rules.objection ? rules.objection(e) : "";
  CHECK_USER(objection.empty(), "text {} {}", d.id, objection);
  return e;
}

void add_text(const Session& session, const Document& d, Encoding encoding, TextInputs& in) {
  in.lengths.push_back(static_cast<std::int64_t>(encoding.ids.size()));
  in.texts.push_back(
      {encoding.ids,
       session.config.token_types > 0 ? encoding.type_ids : std::vector<std::int32_t>{},
       "text " + d.id});
  in.encodings.push_back(std::move(encoding));
  in.documents.push_back(d);
}

void WholeTextOptions::visit(FieldVisitor& v, const char* group) {
  model.visit(v);
  texts.visit(v, false);
  v.group(group);
  v.field("truncation", truncation,
          "cut texts that are longer than the model's context, at their right or left end");
}

std::vector<Document> read_documents(Session& session, const TextOptions& options,
                                     const TextWants& wants, Rejects& rejects) {
  GivenTexts given = read_texts(options, wants, session.grid.world(), session.stream);
  for (const RejectedRecord& r : given.rejected) rejects.add(r.line, "", r.reason);
  return std::move(given.documents);
}

TextInputs read_inputs(Session& session, const TextOptions& options, const InputRules& rules) {
  TextInputs in;
  TextWants wants;
  wants.pair_field = rules.pair_field;
  wants.unit = rules.unit;
  std::vector<Document> documents = read_documents(session, options, wants, in.rejects);
  if (rules.pieces) documents = cut(documents, rules, in.rejects);
  in.n_texts = documents.size() + in.rejects.size();
  CHECK_USER(rules.pairs.empty() || rules.pairs.size() == documents.size(),
             "--text-pair is given {} times for {} texts; allowed: once a text", rules.pairs.size(),
             documents.size());
  session.need_tokenizer();
  const auto dp = static_cast<std::size_t>(session.grid.shape().dp),
             mine = static_cast<std::size_t>(session.grid.dp().rank());
  for (std::size_t i = 0; i < documents.size(); ++i) {
    Document& d = documents[i];
    if (!rules.pairs.empty()) d.pair = made_utf8(rules.pairs[i]);
    Encoding e;
    if (!in.rejects.serve(d, [&] { e = encode_text(session, d, rules); })) continue;
    const std::size_t number = in.documents.size();
    in.lengths.push_back(static_cast<std::int64_t>(e.ids.size()));
    in.documents.push_back(std::move(d));
    if (number % dp != mine) continue;
    in.texts.push_back({e.ids,
                        session.config.token_types > 0 ? e.type_ids : std::vector<std::int32_t>{},
                        "text " + in.documents.back().id});
    in.encodings.push_back(std::move(e));
    in.numbers.push_back(number);
  }
  if (in.documents.empty()) in.rejects.finish(session, options.out, in.n_texts, std::nullopt);
  return in;
}

}  // namespace weft
