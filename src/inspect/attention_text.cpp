#include "inspect/attention_text.h"

#include <algorithm>

#include "core/utf8.h"
#include "text/character_offsets.h"
#include "text/characters/unicode.h"

namespace weft {
namespace {

// A token's place in its text, in bytes, and that of the token before it.
struct Place {
  std::pair<std::int64_t, std::int64_t> own, before;
};

bool inside_character(std::string_view text, std::size_t at) {
  return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

// Whether the token goes on with the word of the one before it: letters and digits that nothing
// parts, the rest of a character, or what follows a space that is a token by itself.
bool goes_on(std::string_view text, const Place& place) {
  const auto begin = static_cast<std::size_t>(place.own.first);
  if (place.own.first < place.before.second) return true;
  if (place.own.first != place.before.second || begin == 0 || begin >= text.size()) return false;
  if (inside_character(text, begin)) return true;
  if (text[begin - 1] == ' ' && text[begin] != ' ')
    return place.before.second - place.before.first == 1;
  std::size_t last = begin - 1;
  while (last > 0 && inside_character(text, last)) --last;
  return is_word_character(character_at(text, last).code) &&
         is_word_character(character_at(text, begin).code);
}

// A token of the text as it adds to it, with a space in front where the text has white space there,
// whether the token spells it or the tokenizer passed over it, and nowhere else.
std::string shown_piece(const Tokenizer& tokenizer, std::int32_t id, std::string_view text,
                        const Place& place) {
  std::string piece = tokenizer.token_bytes(id);
  if (piece.empty()) piece = tokenizer.token(id);
  const auto begin = static_cast<std::size_t>(place.own.first);
  const auto space_at = [&](std::size_t at) {
    return at < text.size() && class_of(character_at(text, at).code) == CharClass::space;
  };
  const bool passed_over =
      begin > 0 && place.own.first > place.before.second && space_at(begin - 1);
  const bool spelled = piece.starts_with(' ');
  if (spelled && piece.size() > 1 && piece[1] != ' ' && !passed_over && !space_at(begin))
    piece.erase(0, 1);
  if (!spelled && passed_over) piece.insert(0, 1, ' ');
  return printable(made_utf8(piece));
}

}  // namespace

AttentionText attention_text(const Tokenizer& tokenizer, const std::string& name,
                             const std::string& text, const std::optional<std::string>& pair,
                             const Encoding& e) {
  AttentionText shown;
  shown.name = name;
  shown.text = pair ? text + "\n" + *pair : text;
  shown.ids = e.ids;
  const std::size_t T = e.ids.size(), first = pair ? tokens_of_first(tokenizer, e, text) : T;
  if (pair && first < T) shown.pair_from = static_cast<std::int64_t>(first);

  shown.offsets = e.offsets;
  const std::span offsets(shown.offsets);
  offsets_in_characters(text, offsets.first(first));
  if (pair) {
    offsets_in_characters(*pair, offsets.subspan(first));
    std::pair<std::int64_t, std::int64_t> whole[] = {{0, static_cast<std::int64_t>(text.size())}};
    offsets_in_characters(text, whole);
    for (auto& [begin, end] : offsets.subspan(first))
      begin += whole[0].second + 1, end += whole[0].second + 1;
  }

  // A word of its vocabulary, or a character, is all that such a token is.
  const std::string kind = tokenizer.kind();
  const bool whole_words = kind == "characters" || kind == "WordLevel";
  std::int64_t word = -1;
  for (std::size_t i = 0; i < T; ++i) {
    const std::string_view of = i >= first ? *pair : text;
    const bool begins = i == 0 || i == first || e.added[i - 1];  // a text, or behind its middle
    const Place place = {e.offsets[i],
                         begins ? std::pair<std::int64_t, std::int64_t>{0, 0} : e.offsets[i - 1]};
    word += begins || e.added[i] || whole_words || !goes_on(of, place);
    shown.words.push_back(word);
    shown.tokens.push_back(e.added[i] ? printable(made_utf8(tokenizer.token(e.ids[i])))
                                      : shown_piece(tokenizer, e.ids[i], of, place));
    if (e.added[i]) shown.offsets[i] = {-1, -1};
  }
  return shown;
}

AttentionText text_of_ids(const Tokenizer& tokenizer, const std::string& name,
                          std::span<const std::int32_t> ids) {
  Encoding e;
  std::string text;
  e.ids.assign(ids.begin(), ids.end());
  for (const std::int32_t id : ids) {
    const bool special = tokenizer.is_special(id);
    const auto begin = static_cast<std::int64_t>(text.size());
    if (!special) text += tokenizer.token_bytes(id);
    e.offsets.emplace_back(begin, static_cast<std::int64_t>(text.size()));
    e.added.push_back(special);
  }
  return attention_text(tokenizer, name, text, std::nullopt, e);
}

}  // namespace weft
