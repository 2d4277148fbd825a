// WordPiece: byte-pair encoding over BERT's words, whose letters behind the first carry "##".
#include <utf8proc.h>

#include <algorithm>
#include <map>
#include <set>

#include "text/characters/unicode.h"
#include "text/learn/merge_learner.h"
#include "text/learn/trainer_kinds.h"

namespace weft {
namespace {

constexpr const char* kPrefix = "##";

bool is_chinese(std::int32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_punctuation(std::int32_t c) {
  if (c < 128)
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
  const utf8proc_category_t category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool is_dropped(std::int32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const utf8proc_category_t category = utf8proc_category(c);
  return c <= 0 || c == 0xFFFD || category == UTF8PROC_CATEGORY_CC ||
         category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
}

// BertNormalizer and BertPreTokenizer, one character after another: cleaned, decomposed without
// accents, in lower case; words end at spaces, and Chinese characters and punctuation stand alone.
void cut_words(std::string_view text, const TakePiece& take) {
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) take(word);
    word.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    at += c.bytes;
    if (is_dropped(c.code)) continue;
    if (class_of(c.code) == CharClass::space) {
      end_word();
      continue;
    }
    const bool alone = is_chinese(c.code);
    if (alone) end_word();
    utf8proc_int32_t parts[32];
    int boundary = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char(c.code, parts, 32, UTF8PROC_DECOMPOSE, &boundary);
    for (utf8proc_ssize_t i = 0; i < n && i < 32; ++i) {
      if (utf8proc_category(parts[i]) == UTF8PROC_CATEGORY_MN) continue;
      const std::int32_t lower = utf8proc_tolower(parts[i]);
      if (is_punctuation(lower)) end_word();
      append_utf8(word, static_cast<std::uint32_t>(lower));
      if (is_punctuation(lower)) end_word();
    }
    if (alone) end_word();
  }
  end_word();
}

std::vector<std::int32_t> code_points(std::string_view text) {
  std::vector<std::int32_t> codes;
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    codes.push_back(c.code);
    at += c.bytes;
  }
  return codes;
}

std::string utf8(std::int32_t code) {
  std::string text;
  append_utf8(text, static_cast<std::uint32_t>(code));
  return text;
}

// The most frequent characters (ties: the smaller code points), in order of code points.
std::set<std::int32_t> alphabet_of(const PieceCounts& counts, std::int64_t limit) {
  std::map<std::int32_t, std::int64_t> seen;
  for (const PieceCount& piece : counts)
    for (const std::int32_t code : code_points(piece.text)) seen[code] += piece.count;
  std::vector<std::pair<std::int64_t, std::int32_t>> order;
  for (const auto& [code, count] : seen) order.emplace_back(-count, code);
  std::sort(order.begin(), order.end());
  if (static_cast<std::int64_t>(order.size()) > limit)
    order.resize(static_cast<std::size_t>(std::max<std::int64_t>(limit, 0)));
  std::set<std::int32_t> kept;
  for (const auto& [count, code] : order) kept.insert(code);
  return kept;
}

OrderedJson bert_template(const TokenizerTraining& options) {
  if (!options.roles.contains("cls_token") || !options.roles.contains("sep_token")) return nullptr;
  const std::string &cls = options.roles.at("cls_token"), &sep = options.roles.at("sep_token");
  const auto special = [](const std::string& token, int type) {
    return OrderedJson{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto text = [](const char* name, int type) {
    return OrderedJson{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  OrderedJson entries = OrderedJson::object();
  for (const std::string& token : {cls, sep}) {
    const std::vector<std::string>& all = options.special_tokens;
    entries[token] = {{"id", token},
                      {"ids", {std::find(all.begin(), all.end(), token) - all.begin()}},
                      {"tokens", {token}}};
  }
  return {{"type", "TemplateProcessing"},
          {"single", OrderedJson::array({special(cls, 0), text("A", 0), special(sep, 0)})},
          {"pair", OrderedJson::array({special(cls, 0), text("A", 0), special(sep, 0), text("B", 1),
                                       special(sep, 1)})},
          {"special_tokens", std::move(entries)}};
}

LearnedTokenizer learn_wordpiece(const TokenizerTraining& options, const PieceCounts& counts,
                                 const Progress& progress) {
  std::vector<std::string> tokens = options.special_tokens;
  std::map<std::string, std::int32_t> ids;
  for (std::size_t i = 0; i < tokens.size(); ++i) ids[tokens[i]] = static_cast<std::int32_t>(i);
  const auto id_of = [&](const std::string& token) {
    const auto [at, is_new] = ids.try_emplace(token, static_cast<std::int32_t>(tokens.size()));
    if (is_new) tokens.push_back(token);
    return at->second;
  };
  const std::set<std::int32_t> alphabet = alphabet_of(counts, options.limit_alphabet);
  for (const std::int32_t code : alphabet) id_of(utf8(code));
  // Then the ones that continue words. The reference gives them ids in the order of its hash table.
  std::set<std::int32_t> continuing;
  for (const PieceCount& piece : counts) {
    const std::vector<std::int32_t> codes = code_points(piece.text);
    for (std::size_t i = 1; i < codes.size(); ++i)
      if (alphabet.contains(codes[i])) continuing.insert(codes[i]);
  }
  for (const std::int32_t code : continuing) id_of(kPrefix + utf8(code));

  std::vector<CountedWord> words;
  for (const PieceCount& piece : counts) {
    CountedWord word{{}, piece.count};
    const std::vector<std::int32_t> codes = code_points(piece.text);
    for (std::size_t i = 0; i < codes.size(); ++i)
      if (alphabet.contains(codes[i]))
        word.symbols.push_back(id_of(i == 0 ? utf8(codes[i]) : kPrefix + utf8(codes[i])));
    words.push_back(std::move(word));
  }
  learn_merges(tokens, words,
               {.vocab_size = options.vocab_size,
                .min_frequency = options.min_frequency,
                .continuing_prefix = kPrefix},
               progress);

  LearnedTokenizer t;
  t.normalizer = {{"type", "BertNormalizer"},
                  {"clean_text", true},
                  {"handle_chinese_chars", true},
                  {"strip_accents", nullptr},
                  {"lowercase", true}};
  t.pre_tokenizer = {{"type", "BertPreTokenizer"}};
  t.post_processor = bert_template(options);
  t.decoder = {{"type", "WordPiece"}, {"prefix", kPrefix}, {"cleanup", true}};
  t.model = {{"type", "WordPiece"},
             {"unk_token", options.roles.at("unk_token")},
             {"continuing_subword_prefix", kPrefix},
             {"max_input_chars_per_word", 100},
             {"vocab", vocab_json(tokens)}};
  return t;
}

}  // namespace

TrainerKind wordpiece_kind() {
  const auto reserves = [](const std::string& token) {
    return character_at(token, 0).bytes == token.size();
  };
  return {
      "wordpiece",    {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}, true, reserves, 1, cut_words,
      learn_wordpiece};
}

}  // namespace weft
