#include "text/characters/unicode_properties.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/check.h"
#include "text/characters/unicode_tables.h"

namespace weft {
namespace {

constexpr std::int32_t kCodes = 0x110000;
constexpr std::array<std::string_view, 30> kCategoryNames = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn", "Cs"};

std::int32_t number(std::string_view text, int base) {
  std::int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  CHECK(error == std::errc() && end == text.data() + text.size(), "'{}' in a table of characters",
        text);
  return value;
}

template <class Word>
void each_word(std::string_view text, const Word& word) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) word(text.substr(at, end - at));
    at = end + 1;
  }
}

std::pair<std::int32_t, std::int32_t> range(std::string_view word) {
  const std::size_t dash = word.find('-');
  const std::int32_t first = number(word.substr(0, dash), 16);
  const std::int32_t last =
      dash == std::string_view::npos ? first : number(word.substr(dash + 1), 16);
  CHECK(first >= 0 && first <= last && last < kCodes, "'{}' in a table of characters", word);
  return {first, last};
}

std::vector<CharacterProperties> read_tables() {
  std::vector<CharacterProperties> all(kCodes);
  const auto at = [&](std::int32_t code) -> CharacterProperties& {
    return all[static_cast<std::size_t>(code)];
  };
  std::int32_t code = 0;
  each_word(unicode_tables::kCategories, [&](std::string_view word) {
    const auto found = std::find(kCategoryNames.begin(), kCategoryNames.end(), word.substr(0, 2));
    const std::int32_t n = word.size() > 2 ? number(word.substr(2), 10) : 1;
    CHECK(found != kCategoryNames.end() && n > 0 && n <= kCodes - code,
          "'{}' in the table of categories", word);
    for (const std::int32_t end = code + n; code < end; ++code)
      at(code).category = static_cast<Category>(found - kCategoryNames.begin());
  });
  CHECK(code == kCodes, "the table of categories ends at U+{:04X}", code);
  int combining_class = 0;
  each_word(unicode_tables::kCombiningClasses, [&](std::string_view word) {
    if (word[0] == '=') {
      combining_class = number(word.substr(1), 10);
      return;
    }
    const auto [first, last] = range(word);
    for (std::int32_t c = first; c <= last; ++c)
      at(c).combining_class = static_cast<std::uint8_t>(combining_class);
  });

  const auto bit = [](Category c) { return 1u << static_cast<unsigned>(c); };
  const auto until = [&](Category first, Category last) { return (bit(last) << 1) - bit(first); };
  const std::uint32_t marks = until(Category::Mn, Category::Me);
  const std::uint32_t word = until(Category::Lu, Category::Lo) | marks | bit(Category::Nd) |
                             bit(Category::Nl) | bit(Category::Pc);
  const struct {
    CharacterFlag flag;
    std::uint32_t categories;
    const char* exceptions;
  } kFlags[] = {{kRegexWord, word, unicode_tables::kRegexWord},
                {kWord, word, unicode_tables::kWord},
                {kPunctuation, until(Category::Pc, Category::Po), unicode_tables::kPunctuation},
                {kNumeric, until(Category::Nd, Category::No), unicode_tables::kNumeric},
                {kMark, marks, unicode_tables::kMark},
                {kNonspacingMark, bit(Category::Mn), unicode_tables::kNonspacingMark},
                {kControl, until(Category::Cc, Category::Co), unicode_tables::kControl},
                {kUndecomposed, 0, unicode_tables::kUndecomposed},
                {kCompatible, 0, unicode_tables::kCompatible}};
  for (const auto& [flag, categories, exceptions] : kFlags) {
    for (CharacterProperties& p : all)
      if (categories & bit(p.category)) p.flags = static_cast<std::uint16_t>(p.flags | flag);
    each_word(exceptions, [&](std::string_view text) {
      const auto [first, last] = range(text);
      for (std::int32_t c = first; c <= last; ++c)
        at(c).flags = static_cast<std::uint16_t>(at(c).flags ^ flag);
    });
  }
  return all;
}

template <class In>
CodeRanges ranges_where(const In& in) {
  CodeRanges out;
  for (std::int32_t c = 0; c < kCodes; ++c) {
    if (!in(properties_of(c))) continue;
    if (!out.empty() && out.back().second == c - 1)
      out.back().second = c;
    else
      out.emplace_back(c, c);
  }
  return out;
}

}  // namespace

const CharacterProperties& properties_of(std::int32_t code) {
  static const std::vector<CharacterProperties> table = read_tables();
  static const CharacterProperties none;
  return code < 0 || code >= kCodes ? none : table[static_cast<std::size_t>(code)];
}

std::int32_t lower_case(std::int32_t code) {
  struct Shift {
    std::int32_t first, last, lower;
  };
  static const std::vector<Shift> newer = [] {
    std::vector<Shift> all;
    each_word(unicode_tables::kLowerCase, [&](std::string_view word) {
      const std::size_t equals = word.find('=');
      const auto [first, last] = range(word.substr(0, equals));
      all.push_back({first, last, number(word.substr(equals + 1), 16)});
    });
    return all;
  }();
  for (const Shift& s : newer)
    if (code >= s.first && code <= s.last) return s.lower + code - s.first;
  return utf8proc_tolower(code);
}

std::optional<CodeRanges> ranges_of_category(std::string_view name) {
  const auto named = [&](std::string_view category) {
    return !name.empty() && category.starts_with(name);
  };
  if (std::none_of(kCategoryNames.begin(), kCategoryNames.end(), named)) return std::nullopt;
  return ranges_where([&](const CharacterProperties& p) {
    return named(kCategoryNames[static_cast<std::size_t>(p.category)]);
  });
}

CodeRanges ranges_of_flag(CharacterFlag flag) {
  return ranges_where([&](const CharacterProperties& p) { return (p.flags & flag) != 0; });
}

CodeRanges newer_of_script(std::string_view name) {
  CodeRanges out;
  bool wanted = false;
  each_word(unicode_tables::kScripts, [&](std::string_view word) {
    const bool is_name = word.size() > 1 && word[1] >= 'a' && word[1] <= 'z';
    if (is_name)
      wanted = word == name;
    else if (wanted)
      out.push_back(range(word));
  });
  return out;
}

}  // namespace weft
