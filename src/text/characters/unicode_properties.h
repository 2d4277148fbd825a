// What the parts of the reference take a character for. Each has tables of its own, of different
// Unicode versions, so that one library's would not give the same tokens: these are measured
// (unicode_tables.cpp) and do not depend on the version of utf8proc or PCRE2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft {

enum class Category : std::uint8_t {
  Lu,
  Ll,
  Lt,
  Lm,
  Lo,
  Mn,
  Mc,
  Me,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Ps,
  Pe,
  Pi,
  Pf,
  Po,
  Sm,
  Sc,
  Sk,
  So,
  Zs,
  Zl,
  Zp,
  Cc,
  Cf,
  Co,
  Cn,
  Cs
};

enum CharacterFlag : std::uint16_t {
  kRegexWord = 1,        // \w of Oniguruma: of patterns that a file spells
  kWord = 2,             // \w of the Whitespace pre-tokenizer and of single_word
  kPunctuation = 4,      // of the Punctuation and BERT pre-tokenizers
  kNumeric = 8,          // of the Digits pre-tokenizer
  kMark = 16,            // dropped by StripAccents
  kNonspacingMark = 32,  // dropped by BERT's strip_accents
  kControl = 64,         // dropped by BERT's clean_text
  kUndecomposed = 128,   // NFD and NFC leave it alone
  kCompatible = 256,     // NFKD and NFKC do
};

struct CharacterProperties {
  Category category = Category::Cn;
  std::uint8_t combining_class = 0;
  std::uint16_t flags = 0;
};

// Of a code point; of anything else those of one that is not assigned.
const CharacterProperties& properties_of(std::int32_t code);
inline bool has(std::int32_t code, CharacterFlag flag) {
  return (properties_of(code).flags & flag) != 0;
}
std::int32_t lower_case(std::int32_t code);  // one for one: U+0130 is the caller's

using CodeRanges = std::vector<std::pair<std::int32_t, std::int32_t>>;  // both ends included
// All characters of a category ("Lu") or of all whose name begins so ("L"); nothing where there is
// no such category.
std::optional<CodeRanges> ranges_of_category(std::string_view name);
CodeRanges ranges_of_flag(CharacterFlag flag);
CodeRanges newer_of_script(std::string_view name);  // what a script has beyond Unicode 14

}  // namespace weft
