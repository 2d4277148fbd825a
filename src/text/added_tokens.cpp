#include "text/added_tokens.h"

#include <algorithm>

#include "core/check.h"
#include "core/rng.h"
#include "text/characters/unicode.h"

namespace weft {

AddedToken read_added_token(const Json& entry, std::int64_t id, const std::string& origin) {
  CHECK_USER(entry.is_object() && entry.contains("content") && entry["content"].is_string(),
             "{}: an added token has no content", origin);
  const JsonReader reader(entry, origin + ": added_tokens");
  AddedToken token;
  token.content = entry["content"].get<std::string>();
  CHECK_USER(!token.content.empty(), "{}: an added token has no content", origin);
  if (id < 0) id = reader.integer("id", 0, (1 << 24) - 1);
  token.id = static_cast<std::int32_t>(id);
  token.special = reader.boolean("special", false);
  token.normalized = reader.boolean("normalized", false);
  token.single_word = reader.boolean("single_word", false);
  token.lstrip = reader.boolean("lstrip", false);
  token.rstrip = reader.boolean("rstrip", false);
  return token;
}

OrderedJson to_json(const AddedToken& t) {
  return {{"id", t.id},          {"content", t.content}, {"single_word", t.single_word},
          {"lstrip", t.lstrip},  {"rstrip", t.rstrip},   {"normalized", t.normalized},
          {"special", t.special}};
}

std::int32_t TokenFinder::step(std::int32_t node, std::uint8_t byte) const {
  const std::uint64_t key = static_cast<std::uint64_t>(node) << 8 | byte;
  for (std::size_t at = mix64(key) & (edges_.size() - 1); edges_[at].key != ~0ull;
       at = (at + 1) & (edges_.size() - 1))
    if (edges_[at].key == key) return edges_[at].node;
  return 0;
}

void TokenFinder::put(std::uint64_t key, std::int32_t node) {
  if (++n_edges_ * 2 > edges_.size()) {
    std::vector<Edge> old(edges_.size() * 2);
    old.swap(edges_);
    --n_edges_;
    for (const Edge& e : old)
      if (e.key != ~0ull) {
        --n_edges_;
        put(e.key, e.node);
      }
    ++n_edges_;
  }
  std::size_t at = mix64(key) & (edges_.size() - 1);
  while (edges_[at].key != ~0ull) at = (at + 1) & (edges_.size() - 1);
  edges_[at] = {key, node};
}

void TokenFinder::insert(std::string_view text, std::int32_t value) {
  if (text.empty()) return;
  std::int32_t node = 0;
  for (char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    std::int32_t next = node == 0 ? first_[byte] : step(node, byte);
    if (next == 0) {
      next = static_cast<std::int32_t>(nodes_.size());
      nodes_.push_back(-1);
      if (node == 0)
        first_[byte] = next;
      else
        put(static_cast<std::uint64_t>(node) << 8 | byte, next);
    }
    node = next;
  }
  nodes_[static_cast<std::size_t>(node)] = value;
}

bool TokenFinder::find(std::string_view text, std::size_t at, std::size_t& begin, std::size_t& end,
                       std::int32_t& value) const {
  for (; at < text.size(); ++at) {
    std::int32_t node = first_[static_cast<std::uint8_t>(text[at])], found = -1;
    for (std::size_t i = at + 1; node != 0; ++i) {
      if (const std::int32_t here = nodes_[static_cast<std::size_t>(node)]; here >= 0) {
        found = here;
        end = i;
      }
      if (i == text.size()) break;
      node = step(node, static_cast<std::uint8_t>(text[i]));
    }
    if (found < 0) continue;
    begin = at;
    value = found;
    return true;
  }
  return false;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer)
    : tokens_(std::move(tokens)) {
  // The reference looks through the special ones first; that matters where two become equal by
  // normalization.
  for (const bool special : {true, false})
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const AddedToken& token = tokens_[i];
      if (token.special != special) continue;
      if (!token.normalized) {
        raw_.insert(token.content, static_cast<std::int32_t>(i));
        continue;
      }
      NormalizedText content(token.content, 0, false);
      if (normalizer) normalizer->apply(content);
      normalized_.insert(content.text(), static_cast<std::int32_t>(i));
    }
}

namespace {

// First byte of the character before `at`, which is not 0.
std::size_t character_before(std::string_view text, std::size_t at) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(4, at); ++back)
    if (const Character c = character_at(text, at - back); c.code >= 0 && c.bytes == back)
      return at - back;
  return at - 1;
}

bool is_space_at(std::string_view text, std::size_t at) {
  return class_of(character_at(text, at).code) == CharClass::space;
}

}  // namespace

void AddedTokens::cut(std::string_view text, bool normalized, std::vector<Cut>& out) const {
  const TokenFinder& finder = normalized ? normalized_ : raw_;
  std::size_t rest = 0, at = 0, begin = 0, end = 0;
  std::int32_t which = 0;
  while (!finder.empty() && finder.find(text, at, begin, end, which)) {
    const AddedToken& token = tokens_[static_cast<std::size_t>(which)];
    at = end;
    if (token.single_word) {
      const bool left =
          begin == 0 || !is_word_character(character_at(text, character_before(text, begin)).code);
      const bool right = end == text.size() || !is_word_character(character_at(text, end).code);
      if (!left || !right) continue;
    }
    if (token.lstrip) {
      while (begin > rest && is_space_at(text, character_before(text, begin)))
        begin = character_before(text, begin);
      begin = std::min(std::max(begin, rest), end);
    }
    if (token.rstrip)
      while (end < text.size() && is_space_at(text, end)) end += character_at(text, end).bytes;
    if (rest < begin) out.push_back({rest, begin, -1});
    out.push_back({begin, end, token.id});
    rest = end;  // a token within the white space that was taken is found all the same, as in the
                 // reference
  }
  if (rest < text.size()) out.push_back({rest, text.size(), -1});
}

}  // namespace weft
