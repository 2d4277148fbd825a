#include "cli/texts.h"

#include <cstring>
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
  v.field("format", format, kFormats, "what --in holds, whatever its name");
  v.field("quotes", quotes, kQuotes,
          "quotes around cells of a table (unset: as RFC 4180 in csv, none in tsv)");
  v.field("field", field, "JSONL field or table column that holds the text");
}

void TextOptions::visit(FieldVisitor& v, bool with_prompt) {
  visit_inputs(v, with_prompt);
  v.field("out", out, "write JSON lines to this .jsonl file instead of stdout");
  v.field("json", json, "JSON lines on stdout");
}

GivenTexts read_texts(const TextOptions& o, const TextWants& wants) {
  GivenTexts given;
  std::vector<Document>& all = given.documents;
  for (const std::vector<std::string>* list : {&o.text, &o.prompt})
    for (const std::string& text : *list)
      all.push_back({.text = made_utf8(text), .number = static_cast<std::int64_t>(all.size())});
  const auto n_given = static_cast<std::int64_t>(all.size());
  ReadOptions how = {.field = o.field, .format = o.format, .quotes = o.quotes};
  how.pair_field = wants.pair_field;
  how.keep_options = wants.options;
  how.unit = wants.unit;
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
  for (Document& d : all)
    if (d.id.empty()) d.id = std::to_string(d.number);
  return given;
}

namespace {

// Numbers and texts of any bytes, one behind another.
class Packer {
 public:
  std::string packed;
  void put(std::int64_t number) {
    packed.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  void put(std::string_view text) {
    put(static_cast<std::int64_t>(text.size()));
    packed += text;
  }
};

class Unpacker {
 public:
  explicit Unpacker(std::string_view packed) : packed_(packed) {}
  std::int64_t number() {
    std::int64_t number = 0;
    std::memcpy(&number, packed_.data() + std::exchange(at_, at_ + sizeof number), sizeof number);
    return number;
  }
  std::string text() {
    const auto size = static_cast<std::size_t>(number());
    return std::string(packed_.substr(std::exchange(at_, at_ + size), size));
  }

 private:
  std::string_view packed_;
  std::size_t at_ = 0;
};

std::string pack(const GivenTexts& given) {
  Packer out;
  out.put(static_cast<std::int64_t>(given.documents.size()));
  for (const Document& d : given.documents) {
    for (const std::string* text : {&d.text, &d.id, &d.id_json}) out.put(*text);
    out.put(d.pair ? 1 : 0);
    if (d.pair) out.put(*d.pair);
    // CBOR keeps NaN and infinities.
    const std::vector<std::uint8_t> options =
        d.options.is_null() ? std::vector<std::uint8_t>() : Json::to_cbor(d.options);
    out.put(std::string_view(reinterpret_cast<const char*>(options.data()), options.size()));
    out.put(d.line);
    out.put(d.number);
  }
  out.put(static_cast<std::int64_t>(given.rejected.size()));
  for (const RejectedRecord& r : given.rejected) {
    out.put(r.line);
    out.put(r.reason);
  }
  return std::move(out.packed);
}

GivenTexts unpack(const std::string& packed) {
  Unpacker in(packed);
  GivenTexts given;
  given.documents.resize(static_cast<std::size_t>(in.number()));
  for (Document& d : given.documents) {
    for (std::string* text : {&d.text, &d.id, &d.id_json}) *text = in.text();
    if (in.number() != 0) d.pair = in.text();
    if (const std::string options = in.text(); !options.empty())
      d.options = Json::from_cbor(options);
    d.line = in.number();
    d.number = in.number();
  }
  given.rejected.resize(static_cast<std::size_t>(in.number()));
  for (RejectedRecord& r : given.rejected) {
    r.line = in.number();
    r.reason = in.text();
  }
  return given;
}

}  // namespace

GivenTexts read_texts(const TextOptions& o, const TextWants& wants, Communicator& world,
                      Stream& stream) {
  CHECK_USER(o.out.empty() || std::filesystem::path(o.out).extension() == ".jsonl",
             "--out is '{}'; allowed: a .jsonl file", o.out);
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
