#include <charconv>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/session.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

struct TokenizeOptions {
  std::string model, tokenizer, decode;
  TextOptions texts;

  void visit(FieldVisitor& v) {
    v.group("tokenizer");
    v.field("model", model, "HF directory whose tokenizer to use");
    v.field("tokenizer", tokenizer, "tokenizer directory or tokenizer.json");
    v.field("decode", decode, "ids to turn back into text: \"1 2 3\"");
    texts.visit(v, false);
  }
};

std::vector<std::int32_t> parse_ids(const std::string& text, std::int64_t vocab) {
  std::vector<std::int32_t> ids;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    if (*at == ' ' || *at == ',' || *at == '\t' || *at == '\n') {
      ++at;
      continue;
    }
    std::int32_t id = -1;
    const auto [next, error] = std::from_chars(at, end, id);
    CHECK_USER(error == std::errc() && id >= 0 && id < vocab, "--decode: '{}' is no token id; allowed: whole numbers from 0 to {}",
               std::string(at, std::min(end, at + 20)), vocab - 1);
    ids.push_back(id);
    at = next;
  }
  return ids;
}

// Bytes that a terminal can show: control characters and broken UTF-8 escaped.
std::string shown(const std::string& bytes) { return Json(valid_utf8(bytes)).dump(); }

std::string json_line(const std::string& text, const Encoding& e, const Tokenizer& t) {
  OrderedJson json = {{"text", valid_utf8(text)}};
  std::vector<std::string> tokens;
  for (std::int32_t id : e.ids) tokens.push_back(t.token(id));
  json["tokens"] = tokens;
  json["ids"] = e.ids;
  json["type_ids"] = std::vector<int>(e.ids.size(), 0);
  json["offsets"] = e.offsets;
  json["decoded"] = valid_utf8(t.decode(e.ids));
  return json.dump() + "\n";
}

void print_table(const std::string& text, const Encoding& e, const Tokenizer& t) {
  fmt::print("text     {}\ntokens   {}\n\n{:>5}  {:>7}  {:<24} {}\n", shown(text), e.ids.size(), "place", "id", "token", "bytes");
  for (std::size_t i = 0; i < e.ids.size(); ++i) {
    std::string hex;
    for (char c : t.token_bytes(e.ids[i])) hex += fmt::format("{:02x} ", static_cast<unsigned char>(c));
    fmt::print("{:>5}  {:>7}  {:<24} {}\n", i, e.ids[i], t.token(e.ids[i]), hex);
  }
  fmt::print("\ndecoded  {}\n\n", shown(t.decode(e.ids)));
}

}  // namespace

void run_tokenize(const Invocation& invocation) {
  auto world = invocation.mpi.world();
  const bool first = world->rank() == 0;
  TokenizeOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options({"tokenize", "Shows the tokens of texts, or turns ids back into text.", nullptr, ""}, invocation.args, fields, first)) return;
  const std::string path = o.tokenizer.empty() ? o.model : o.tokenizer;
  CHECK_USER(!path.empty(), "--tokenizer is missing: name a tokenizer directory, or a model's with --model");
  const Tokenizer t = Tokenizer::load(path);
  if (!o.decode.empty()) {
    const std::vector<std::int32_t> ids = parse_ids(o.decode, t.vocab_size());
    const std::string text = t.decode(ids);
    if (!first) return;
    if (o.texts.json) fmt::print("{}\n", OrderedJson({{"ids", ids}, {"decoded", valid_utf8(text)}}).dump());
    else fmt::print("{}\n", text);
    return;
  }
  const std::vector<Document> texts = read_texts(o.texts, *world);
  if (!o.texts.out.empty()) {
    std::string lines;
    for (const Document& d : texts) lines += json_line(d.text, t.encode(d.text), t);
    Stream stream;
    on_first_rank(*world, stream, [&] { write_file_atomically(o.texts.out, lines); });
    return;
  }
  if (!first) return;
  if (!o.texts.json) fmt::print("{}, {} tokens in the vocabulary\n\n", t.kind(), t.vocab_size());
  for (const Document& d : texts) {
    const Encoding e = t.encode(d.text);
    if (o.texts.json) fmt::print("{}", json_line(d.text, e, t));
    else print_table(d.text, e, t);
  }
}

}  // namespace weft
