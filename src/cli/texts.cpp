#include "cli/texts.h"

#include <filesystem>
#include <utility>

#include "comm/agreement.h"
#include "core/check.h"
#include "core/utf8.h"

namespace weft {

void TextOptions::visit_inputs(FieldVisitor& v, bool with_prompt) {
  v.group("input and output");
  v.field("text", text, "a text (repeatable)");
  if (with_prompt) v.field("prompt", prompt, "a prompt (repeatable); the same as --text");
  v.field("in", in,
          "file of texts: .txt, .jsonl, .json, .csv, .tsv, .fasta, .smi (also .gz), or - for "
          "stdin, a text a line");
  if (with_prompt)
    v.field("format", format, kJobFormats,
            "what --in holds, whatever its name; openai: the batch lines of hosted services "
            "(custom_id, url, body), answered in their form");
  else
    v.field("format", format, kFormats, "what --in holds, whatever its name");
  v.field("quotes", quotes, kQuotes,
          "quotes around cells of a table (unset: as RFC 4180 in csv, none in tsv)");
  v.field("field", field, "JSONL field or table column that holds the text");
}

void TextOptions::visit(FieldVisitor& v, bool with_prompt) {
  visit_inputs(v, with_prompt);
  v.field("out", out,
          "write JSON lines to this .jsonl file instead of stdout; F.h5: arrays, beside F.jsonl");
  v.field("json", json, "JSON lines on stdout");
}

ReadOptions read_options(const TextOptions& o, const TextWants& wants) {
  ReadOptions how = {.field = o.field, .format = o.format, .quotes = o.quotes};
  how.pair_field = wants.pair_field;
  how.keep_options = wants.options;
  how.unit = wants.unit;
  return how;
}

GivenTexts read_texts(const TextOptions& o, const TextWants& wants) {
  GivenTexts given;
  std::vector<Document>& all = given.documents;
  for (const std::vector<std::string>* list : {&o.text, &o.prompt})
    for (const std::string& text : *list)
      all.push_back({.text = made_utf8(text), .number = static_cast<std::int64_t>(all.size())});
  const auto n_given = static_cast<std::int64_t>(all.size());
  ReadOptions how = read_options(o, wants);
  how.reject = [&](std::int64_t line, const std::string& sentence) {
    given.rejected.push_back({line, sentence});
  };
  check_read_options(how);
  if (!o.in.empty())
    read_documents(o.in, how, [&](Document&& d) {
      d.number += n_given;
      all.push_back(std::move(d));
    });
  CHECK_USER(!all.empty() || !given.rejected.empty(),
             "there is no text: give --text or --in FILE{}",
             o.in.empty() ? "" : " that holds some");
  EqualTexts equal(wants.draws);
  for (Document& d : all) {
    if (d.id.empty()) d.id = std::to_string(d.number);
    if (wants.draws > 0) d.earlier_draws = equal.next(d);
  }
  return given;
}

GivenTexts read_texts(const TextOptions& o, const TextWants& wants, Communicator& world,
                      Stream& stream) {
  CHECK_USER(
      o.out.empty() || std::filesystem::path(o.out).extension() == ".jsonl",
      "--out is '{}'; allowed: a .jsonl file; of a file's texts (--in FILE) also an .h5 file",
      o.out);
  if (world.size() == 1) return read_texts(o, wants);
  std::string packed;
  on_first_rank(world, stream, [&] { packed = pack(read_texts(o, wants)); });
  packed.resize(static_cast<std::size_t>(
      world.all_reduce_value(static_cast<std::int64_t>(packed.size()), ReduceOp::max, stream)));
  world.broadcast(View(static_cast<void*>(packed.data()), DType::u8,
                       {static_cast<std::int64_t>(packed.size())}),
                  0, stream);
  return unpack(packed);
}

std::string result_line(const Document& d, const OrderedJson& fields) {
  const std::string rest = json_text(fields);  // "{…}"
  return fmt::format("{{\"id\":{}{}{}\n", d.id_json.empty() ? json_text(Json(d.id)) : d.id_json,
                     rest.size() > 2 ? "," : "", std::string_view(rest).substr(1));
}

}  // namespace weft
