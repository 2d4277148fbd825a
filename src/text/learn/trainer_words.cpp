// Tokenizers whose tokens are whole pieces: words, codons, the signs of SMILES. WordLevel models,
// by frequency, ties by their bytes.
#include <algorithm>
#include <unordered_set>

#include "core/check.h"
#include "core/utf8.h"
#include "text/characters/regex.h"
#include "text/learn/trainer_kinds.h"

namespace weft {
namespace {

// What the reference's Whitespace pre-tokenizer cuts by: \w+|[^\w\s]+, with \w and \s as Unicode
// defines them (UTS 18), spelled out because the engines differ.
std::string words_pattern() {
  const std::string word =
      R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9}\x{1F130}-\x{1F149})"
      R"(\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";
  const std::string space =
      R"(\x{9}-\x{D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F})"
      R"(\x{3000})";
  return "[" + word + "]+|[^" + word + space + "]+";
}

constexpr const char* kCodons = "[ACGTUN]{3}|[ACGTUN]";
// Schwaller et al., "Found in Translation" (2018), without its doubled backslash.
constexpr const char* kSmiles =
    R"(\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>|\*|\$)"
    R"(|%[0-9]{2}|[0-9])";

// The matches, and with `between` also what lies between them: the Split pre-tokenizer's
// "isolated".
void cut_by(const Regex& pattern, std::string_view text, bool between, const TakePiece& take) {
  std::size_t last = 0;
  each_match(pattern, text, [&](std::size_t begin, std::size_t end) {
    if (between && begin > last) take(text.substr(last, begin - last));
    if (end > begin) take(text.substr(begin, end - begin));
    last = end;
  });
  if (between && last < text.size()) take(text.substr(last));
}

void cut_words(std::string_view text, const TakePiece& take) {
  static const Regex pattern(words_pattern(), "the words' pattern");
  cut_by(pattern, text, false, take);
}
void cut_codons(std::string_view text, const TakePiece& take) {
  static const Regex pattern(kCodons, "the codons' pattern");
  cut_by(pattern, text, true, take);
}
void cut_smiles(std::string_view text, const TakePiece& take) {
  static const Regex pattern(kSmiles, "the pattern of SMILES");
  cut_by(pattern, text, true, take);
}

// `first`: tokens that are there whatever the counts; `may` says which pieces become tokens.
OrderedJson word_level(const TokenizerTraining& options, const PieceCounts& counts,
                       const std::vector<std::string>& first,
                       const std::function<bool(const std::string&)>& may) {
  std::vector<std::string> tokens = options.special_tokens;
  tokens.insert(tokens.end(), first.begin(), first.end());
  std::unordered_set<std::string> there(tokens.begin(), tokens.end());
  std::vector<const PieceCount*> order;
  for (const PieceCount& piece : counts)
    if (may(piece.text) && !there.contains(piece.text)) order.push_back(&piece);
  const auto before = [](const PieceCount* a, const PieceCount* b) {
    return a->count != b->count ? a->count > b->count : a->text < b->text;
  };
  std::sort(order.begin(), order.end(), before);
  for (const PieceCount* piece : order)
    if (static_cast<std::int64_t>(tokens.size()) < options.vocab_size)
      tokens.push_back(piece->text);
  return {{"type", "WordLevel"},
          {"vocab", vocab_json(tokens)},
          {"unk_token", options.roles.at("unk_token")}};
}

OrderedJson isolated(const char* regex) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

LearnedTokenizer learn_words(const TokenizerTraining& options, const PieceCounts& counts,
                             const Progress&) {
  LearnedTokenizer t;
  t.pre_tokenizer = {{"type", "Whitespace"}};
  t.model = word_level(options, counts, {}, is_utf8);
  return t;
}

bool is_nucleotides(const std::string& text) {
  return text.find_first_not_of("ACGTUN") == std::string::npos;
}

// Single letters, then all 64 codons of DNA (or RNA, or both where T and U are seen), then those
// with N or with T and U as found.
LearnedTokenizer learn_codons(const TokenizerTraining& options, const PieceCounts& counts,
                              const Progress&) {
  bool has_t = false, has_u = false;
  for (const PieceCount& piece : counts) {
    has_t = has_t || (is_nucleotides(piece.text) && piece.text.find('T') != std::string::npos);
    has_u = has_u || (is_nucleotides(piece.text) && piece.text.find('U') != std::string::npos);
  }
  std::vector<std::string> alphabets, first = {"A", "C", "G", "N"};
  if (has_t || !has_u) alphabets.emplace_back("ACGT");
  if (has_u) alphabets.emplace_back("ACGU");
  for (const std::string& letters : alphabets) first.push_back(letters.substr(3));
  for (const std::string& letters : alphabets)
    for (const char a : letters)
      for (const char b : letters)
        for (const char c : letters)
          if (const std::string codon{a, b, c};
              std::find(first.begin(), first.end(), codon) == first.end())
            first.push_back(codon);
  const std::size_t least = first.size() + options.special_tokens.size();
  CHECK_USER(static_cast<std::size_t>(options.vocab_size) >= least,
             "--vocab-size is {}; texts with both T and U need {}", options.vocab_size, least);
  LearnedTokenizer t;
  t.pre_tokenizer = isolated(kCodons);
  t.decoder = {{"type", "Fuse"}};
  t.model = word_level(options, counts, first, is_nucleotides);
  return t;
}

// What the pattern does not cover stays unknown.
LearnedTokenizer learn_smiles(const TokenizerTraining& options, const PieceCounts& counts,
                              const Progress&) {
  const Regex pattern(kSmiles, "the pattern of SMILES");
  LearnedTokenizer t;
  t.pre_tokenizer = isolated(kSmiles);
  t.decoder = {{"type", "Fuse"}};
  t.model = word_level(options, counts, {}, [&](const std::string& piece) {
    bool whole = false;
    each_match(pattern, piece, [&](std::size_t begin, std::size_t end) {
      whole = begin == 0 && end == piece.size();
    });
    return whole && is_utf8(piece);
  });
  return t;
}

bool reserves_nothing(const std::string&) { return false; }

}  // namespace

TrainerKind word_kind() {
  return {"word", {"<|endoftext|>", "<unk>"}, true, reserves_nothing, 1, cut_words, learn_words};
}

// 5 letters and 64 codons.
TrainerKind codon_kind() {
  return {"codon",     {"<|endoftext|>", "<unk>"}, true, is_nucleotides, 5 + 64, cut_codons,
          learn_codons};
}

TrainerKind smiles_kind() {
  return {"smiles",    {"<|endoftext|>", "<unk>"}, true, reserves_nothing, 1, cut_smiles,
          learn_smiles};
}

}  // namespace weft
