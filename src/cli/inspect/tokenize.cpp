#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <limits>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/rejects.h"
#include "cli/run_facts.h"
#include "cli/session.h"
#include "cli/texts.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "core/utf8.h"
#include "inspect/token_page.h"
#include "io/files.h"
#include "io/hub_cache.h"
#include "io/result_file.h"
#include "text/character_offsets.h"
#include "text/files/tokenizer_files.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

struct TokenizeOptions {
  std::string model, tokenizer, decode, html;
  std::vector<std::string> text_pair;
  bool no_special_tokens = false;
  TextOptions texts;

  void visit(FieldVisitor& v) {
    v.group("tokenizer");
    v.field("model", model, "HF directory whose tokenizer to use");
    v.field("tokenizer", tokenizer, "tokenizer directory or tokenizer.json");
    v.field("decode", decode, "ids to turn back into text: \"1 2 3\"");
    v.field("text_pair", text_pair, "the second text of a pair, one for each text (repeatable)");
    v.field("no_special_tokens", no_special_tokens,
            "add no special tokens around a text; leave them out of decoded text");
    v.field("html", html, "an HTML page (F.html) with the texts in their tokens' colors");
    texts.visit(v, false);
  }
};

// One text, or a pair, as tokens.
struct TokenizedText {
  std::string text;
  std::optional<std::string> pair;
  Encoding encoding;
  std::string decoded;
};

TokenizedText make_row(const TokenizeOptions& o, const Tokenizer& t, const std::string& text,
                       const std::string* pair) {
  const bool special = !o.no_special_tokens;
  TokenizedText row = {
      .text = text,
      .pair = std::nullopt,
      .encoding = pair ? t.encode_pair(text, *pair, special) : t.encode(text, special),
      .decoded = ""};
  Encoding& e = row.encoding;
  std::size_t first = e.ids.size();
  if (pair) {
    row.pair = *pair;
    first = tokens_of_first(t, e, text);
  }
  const std::span offsets(e.offsets);
  offsets_in_characters(text, offsets.first(first));
  offsets_in_characters(pair ? *pair : text, offsets.subspan(first));
  row.decoded = t.decode(row.encoding.ids, o.no_special_tokens);
  return row;
}

// Any id that a model can write: those past the tokenizer's table (a padded head has them) have no
// text, here as in transformers.
std::vector<std::int32_t> parse_ids(const std::string& text) {
  std::vector<std::int32_t> ids;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    if (std::string_view(" ,[]\t\n").find(*at) != std::string_view::npos) {  // a JSON list too
      ++at;
      continue;
    }
    std::int32_t id = -1;
    const auto [next, error] = std::from_chars(at, end, id);
    CHECK_USER(error == std::errc() && id >= 0,
               "--decode: '{}' is no token id; allowed: whole numbers from 0 to {}",
               made_utf8(std::string(at, std::min(end, at + 20))),
               std::numeric_limits<std::int32_t>::max());
    ids.push_back(id);
    at = next;
  }
  return ids;
}

// Bytes that a terminal can show: control characters and broken UTF-8 escaped.
std::string shown(const std::string& bytes) { return json_text(Json(made_utf8(bytes))); }

// As the vocabulary spells it, unless that would move the terminal's cursor (the character
// tokenizer has "\n" itself).
std::string shown_token(const std::string& token) {
  const bool plain = std::none_of(token.begin(), token.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  });
  return plain ? token : shown(token);
}

std::string json_line(const TokenizedText& row, const Tokenizer& t) {
  OrderedJson json = {{"text", row.text}};
  if (row.pair) json["text_pair"] = *row.pair;
  std::vector<std::string> tokens;
  for (std::int32_t id : row.encoding.ids) tokens.push_back(made_utf8(t.token(id)));
  json["tokens"] = tokens;
  json["ids"] = row.encoding.ids;
  json["type_ids"] = row.encoding.type_ids;
  json["offsets"] = row.encoding.offsets;
  json["decoded"] = made_utf8(row.decoded);
  return json_text(json) + "\n";
}

std::string table(const TokenizedText& row, const Tokenizer& t) {
  std::string out = fmt::format("text     {}\n", shown(row.text));
  if (row.pair) out += fmt::format("pair     {}\n", shown(*row.pair));
  const Encoding& e = row.encoding;
  out += fmt::format("tokens   {}\n\n{:>5}  {:>7}  {}{:<24} {}\n", e.ids.size(), "place", "id",
                     row.pair ? "type  " : "", "token", "bytes");
  for (std::size_t i = 0; i < e.ids.size(); ++i) {
    std::string hex;
    for (char c : t.token_bytes(e.ids[i]))
      hex += fmt::format("{}{:02x}", hex.empty() ? "" : " ", static_cast<unsigned char>(c));
    const std::string type = row.pair ? fmt::format("{:>4}  ", e.type_ids[i]) : "";
    out += fmt::format("{:>5}  {:>7}  {}{:<24} {}\n", i, e.ids[i], type,
                       shown_token(t.token(e.ids[i])), hex);
  }
  return out +
         fmt::format("\nids      {}\ndecoded  {}\n\n", fmt::join(e.ids, " "), shown(row.decoded));
}

// What the tokenizer is, and ten entries of its vocabulary, from its first to its last.
std::string about_vocabulary(const Tokenizer& t) {
  constexpr std::int64_t kEntries = 10;
  std::string out = fmt::format("{}, {} tokens in the vocabulary\n\n{:>7}  {}\n", t.kind(),
                                t.vocab_size(), "id", "some entries");
  std::int32_t last = -1;
  for (std::int64_t i = 0; i < kEntries; ++i) {
    const auto id = static_cast<std::int32_t>(i * (t.vocab_size() - 1) / (kEntries - 1));
    const std::string token = t.token(id);
    if (id == last || token.empty()) continue;
    out += fmt::format("{:>7}  {}\n", id, shown_token(made_utf8(token)));
    last = id;
  }
  return out + "\n";
}

// Ids to text, on stdout.
void decode_ids(const TokenizeOptions& o, const Tokenizer& t) {
  const std::vector<std::int32_t> ids = parse_ids(o.decode);
  const auto past =
      std::find_if(ids.begin(), ids.end(), [&](std::int32_t id) { return id >= t.vocab_size(); });
  if (past != ids.end())
    log_warning("--decode: id {} has no text; the tokenizer has 0 to {}", *past,
                t.vocab_size() - 1);
  const std::string text = t.decode(ids, o.no_special_tokens);
  if (o.texts.json)
    fmt::print("{}\n", json_text(OrderedJson({{"ids", ids}, {"decoded", made_utf8(text)}})));
  else
    fmt::print("{}\n", text);
}

Encoding encoded(const TokenizeOptions& o, const Tokenizer& t, const Document& d) {
  const bool special = !o.no_special_tokens;
  return d.pair ? t.encode_pair(d.text, *d.pair, special) : t.encode(d.text, special);
}

// Returns how many texts there were; those that are served join the page.
std::size_t tokenize_texts(const TokenizeOptions& o, const Tokenizer& t, Rejects& rejects,
                           TokenPage& page) {
  CHECK_USER(o.texts.out.empty() || std::filesystem::path(o.texts.out).extension() == ".jsonl",
             "--out is '{}'; allowed: a .jsonl file", o.texts.out);
  GivenTexts given = read_texts(o.texts);
  for (const RejectedRecord& r : given.rejected) rejects.add(r.line, "", r.reason);
  std::vector<Document>& texts = given.documents;
  CHECK_USER(o.text_pair.empty() || o.text_pair.size() == texts.size(),
             "--text-pair is given {} times, for {} texts; each text needs one", o.text_pair.size(),
             texts.size());
  std::optional<ResultFile> out;  // nothing is said where no text can be served
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (!o.text_pair.empty()) texts[i].pair = made_utf8(o.text_pair[i]);
    std::string line;
    const bool served = rejects.serve(texts[i], [&] {
      const TokenizedText row =
          make_row(o, t, texts[i].text, texts[i].pair ? &*texts[i].pair : nullptr);
      line = o.texts.as_lines() ? json_line(row, t) : table(row, t);
    });
    if (!served) continue;
    if (!o.html.empty())
      page.texts.push_back(
          attention_text(t, texts[i].id, texts[i].text, texts[i].pair, encoded(o, t, texts[i])));
    if (!out) {
      out.emplace(o.texts.out);
      if (!o.texts.as_lines()) line = about_vocabulary(t) + line;
    }
    out->write(line);
  }
  if (out) out->close();
  if (!page.texts.empty()) write_token_page(page, o.html);
  return texts.size() + given.rejected.size();
}

}  // namespace

void run_tokenize(const Invocation& invocation) {
  auto world = invocation.mpi.world();
  TokenizeOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options(
          {"tokenize", "Shows the tokens of texts, or turns ids back into text.", nullptr, ""},
          invocation.args, fields, world->rank() == 0))
    return;
  const std::string path =
      o.tokenizer.empty() ? find_model(o.model, "--model") : find_model(o.tokenizer, "--tokenizer");
  CHECK_USER(!path.empty(),
             "--tokenizer is missing: name a tokenizer directory, or a model's with --model");
  CHECK_USER(o.html.empty() || o.decode.empty(), "--html shows texts; --decode gives ids");
  check_place("--html", o.html);
  Stream stream;
  Rejects rejects;
  std::size_t n_texts = 0;
  on_first_rank(*world, stream, [&] {  // one rank's work, and stdin is one rank's
    const Tokenizer t = load_tokenizer(path);
    TokenPage page = {made_by(),
                      command_line(invocation, "tokenize"),
                      fmt::format("{}: {}, {} tokens", path, t.kind(), t.vocab_size()),
                      {}};
    if (o.decode.empty())
      n_texts = tokenize_texts(o, t, rejects, page);
    else
      decode_ids(o, t);
  });
  rejects.finish(*world, o.texts.out, n_texts);
}

}  // namespace weft
