#include "text/tokenizer.h"

#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/rng.h"
#include "text/byte_level.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace weft {
namespace {

std::string byte_token(std::size_t byte) { return fmt::format("<0x{:02X}>", byte); }

}  // namespace

void Tokenizer::Impl::finish(const std::string& origin) {
  for (const AddedToken& token : added) {
    if (token.id >= static_cast<std::int32_t>(tokens.size())) tokens.resize(static_cast<std::size_t>(token.id) + 1);
    tokens[static_cast<std::size_t>(token.id)] = token.content;
  }
  CHECK_USER(!tokens.empty(), "{}: the vocabulary is empty", origin);
  special.assign(tokens.size(), 0);
  std::vector<std::uint8_t> is_added(tokens.size(), 0);
  for (const AddedToken& token : added) {
    special[static_cast<std::size_t>(token.id)] = token.special;
    is_added[static_cast<std::size_t>(token.id)] = 1;
  }
  bytes.resize(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].empty()) continue;
    ids.emplace(tokens[i], static_cast<std::int32_t>(i));
    bytes[i] = tokens[i];
    if (is_added[i]) continue;
    if (kind == TokenizerKind::byte_level) bytes[i] = bytes_of_characters(tokens[i]).value_or(tokens[i]);
  }
  byte_ids.fill(-1);
  for (std::size_t b = 0; b < 256; ++b) {
    const auto found = ids.find(kind == TokenizerKind::byte_level ? byte_characters()[b] : byte_token(b));
    if (found == ids.end()) continue;
    byte_ids[b] = found->second;
    if (kind == TokenizerKind::characters) bytes[static_cast<std::size_t>(found->second)] = std::string(1, static_cast<char>(b));
  }
  const auto missing = std::find(byte_ids.begin(), byte_ids.end(), -1);
  CHECK_USER(missing == byte_ids.end(), "{}: the vocabulary has no token for byte 0x{:02X}, so not every text could be encoded", origin,
             missing - byte_ids.begin());

  std::vector<Merge> ranked;
  for (const auto& [left, right] : merges) {
    const auto a = ids.find(left), b = ids.find(right), result = ids.find(left + right);
    CHECK_USER(a != ids.end() && b != ids.end() && result != ids.end(), "{}: the merge '{} {}' joins tokens that are not in the vocabulary", origin, left,
               right);
    const auto made = static_cast<std::size_t>(result->second);
    CHECK_USER(!is_added[made] || kind != TokenizerKind::byte_level || bytes_of_characters(tokens[made]) == tokens[made],
               "{}: the merge '{} {}' makes the added token '{}', which stands for another text", origin, left, right, tokens[made]);
    ranked.push_back({a->second, b->second, result->second});
  }
  table = MergeTable(ranked);
  if (kind == TokenizerKind::characters) return;
  // Most words of a text are one token: those are found at once, without merging.
  std::vector<Symbol> word;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (is_added[i] || bytes[i].empty() || bytes[i].size() > 64) continue;
    if (!ignore_merges) {
      word.clear();
      for (char b : bytes[i]) word.push_back({byte_ids[static_cast<std::uint8_t>(b)], 1});
      table.apply(word);
      if (word.size() != 1 || word[0].id != static_cast<std::int32_t>(i)) continue;
    }
    whole.insert(bytes[i], static_cast<std::int32_t>(i));
  }
}

namespace {

// Where tokens go: with or without their places in the text.
struct Sink {
  std::vector<std::int32_t>& ids;
  std::vector<std::pair<std::int64_t, std::int64_t>>* offsets;
  void put(std::int32_t id, std::size_t begin, std::size_t end) const {
    ids.push_back(id);
    if (offsets) offsets->emplace_back(begin, end);
  }
};

// With `prefixed`, the text's first byte is a space that was put there; a token of it alone points to the character behind it, as in the reference.
void encode_words(const Tokenizer::Impl& t, std::string_view text, std::size_t offset, bool prefixed, const Sink& out) {
  std::vector<Symbol> word;
  const auto put = [&](std::int32_t id, std::size_t begin, std::size_t end) {
    if (!prefixed) return out.put(id, offset + begin, offset + end);
    out.put(id, offset + (begin == 0 ? 0 : begin - 1), offset + (end == 1 ? shown_character(text, 1) : end - 1));
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = gpt2_word_end(text, at);
    const std::string_view bytes = text.substr(at, end - at);
    if (const std::int32_t id = t.whole.find(bytes); id != WordTable::kAbsent) {
      put(id, at, end);
    } else {
      word.clear();
      for (char b : bytes) word.push_back({t.byte_ids[static_cast<std::uint8_t>(b)], 1});
      t.table.apply(word);
      std::size_t from = at;
      for (const Symbol& s : word) {
        put(s.id, from, from + s.bytes);
        from += s.bytes;
      }
    }
    at = end;
  }
}

void encode_characters(const Tokenizer::Impl& t, std::string_view text, std::size_t offset, const Sink& out) {
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const std::string_view bytes = text.substr(at, c.bytes);
    const auto found = t.ids.find(bytes);
    const std::size_t begin = offset + at;
    if (found != t.ids.end()) {
      out.put(found->second, begin, begin + c.bytes);
    } else {
      for (std::size_t k = 0; k < c.bytes; ++k) out.put(t.byte_ids[static_cast<std::uint8_t>(bytes[k])], begin + k, begin + k + 1);
    }
    at += c.bytes;
  }
}

void encode_piece(const Tokenizer::Impl& t, std::string_view text, std::size_t begin, std::size_t end, const Sink& out) {
  if (begin == end) return;
  const std::string_view part = text.substr(begin, end - begin);
  if (t.kind == TokenizerKind::characters) return encode_characters(t, part, begin, out);
  if (t.add_prefix_space && part[0] != ' ') return encode_words(t, ' ' + std::string(part), begin, true, out);
  encode_words(t, part, begin, false, out);
}

// Cuts text[begin, end) at the added tokens, leftmost first and of those the longest; what lies between goes to `piece`. First those that
// are not normalized, then, in what is left, those that are.
template <class Piece>
void cut_at_added(const Tokenizer::Impl& t, std::string_view text, std::size_t begin, std::size_t end, bool normalized, const Sink& out, const Piece& piece) {
  struct Wanted {
    const AddedToken* token;
    std::size_t next;  // its first place at or after `at`; kept, so that a rare token is not looked for again and again
  };
  const std::string_view within = text.substr(0, end);
  std::vector<Wanted> wanted;
  for (const AddedToken& token : t.added)
    if (token.normalized == normalized)
      if (const std::size_t next = within.find(token.content, begin); next != std::string_view::npos) wanted.push_back({&token, next});
  for (std::size_t at = begin;;) {
    const Wanted* best = nullptr;
    for (Wanted& w : wanted) {
      if (w.next < at) w.next = within.find(w.token->content, at);  // npos is never below `at`
      if (w.next == std::string_view::npos) continue;
      if (!best || w.next < best->next || (w.next == best->next && w.token->content.size() > best->token->content.size())) best = &w;
    }
    if (!best) return piece(at, end);
    piece(at, best->next);
    at = best->next + best->token->content.size();
    out.put(best->token->id, best->next, at);
  }
}

void encode_into(const Tokenizer::Impl& t, std::string_view text, const Sink& out) {
  cut_at_added(t, text, 0, text.size(), false, out, [&](std::size_t begin, std::size_t end) {
    cut_at_added(t, text, begin, end, true, out, [&](std::size_t b, std::size_t e) { encode_piece(t, text, b, e, out); });
  });
}

}  // namespace

// Neither GPT-2's files nor the character tokenizer add tokens around a text, whatever add_special_tokens says.
Encoding Tokenizer::encode(std::string_view text, bool) const {
  Encoding out;
  encode_into(*impl_, text, {out.ids, &out.offsets});
  return out;
}

std::vector<std::int32_t> Tokenizer::ids(std::string_view text) const {
  std::vector<std::int32_t> out;
  encode_into(*impl_, text, {out, nullptr});
  return out;
}

std::string Tokenizer::decode(std::span<const std::int32_t> list, bool skip_special_tokens) const {
  std::string out;
  for (std::int32_t i : list)
    if (!(skip_special_tokens && is_special(i))) out += token_bytes(i);
  return out;
}

std::int64_t Tokenizer::vocab_size() const { return static_cast<std::int64_t>(impl_->tokens.size()); }

std::string Tokenizer::token(std::int32_t i) const { return i < 0 || i >= vocab_size() ? "" : impl_->tokens[static_cast<std::size_t>(i)]; }

// Ids past the vocabulary (models pad their tables) decode to nothing, as the reference.
const std::string& Tokenizer::token_bytes(std::int32_t i) const {
  static const std::string nothing;
  return i < 0 || i >= vocab_size() ? nothing : impl_->bytes[static_cast<std::size_t>(i)];
}

std::optional<std::int32_t> Tokenizer::id(std::string_view token) const {
  const auto found = impl_->ids.find(token);
  return found == impl_->ids.end() ? std::nullopt : std::optional(found->second);
}

bool Tokenizer::is_special(std::int32_t i) const { return i >= 0 && i < vocab_size() && impl_->special[static_cast<std::size_t>(i)]; }

std::optional<std::int32_t> Tokenizer::eos_id() const {
  if (!impl_->eos.empty()) return id(impl_->eos);
  for (const char* name : {"<|endoftext|>", "</s>"})
    if (const auto found = id(name)) return found;
  return std::nullopt;
}

std::string Tokenizer::kind() const { return impl_->kind == TokenizerKind::byte_level ? "byte-level BPE" : "characters"; }

std::string Tokenizer::hash() const {
  const std::string json = to_json();
  std::uint64_t a = 1, b = 2;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(json[i]);
    a = mix64(a ^ byte);
    b = mix64(b + byte + i);
  }
  return fmt::format("{:016x}{:016x}", a, b);
}

std::string StreamDecoder::push(std::int32_t id) {
  if (!(skip_special_ && tokenizer_->is_special(id))) held_ += tokenizer_->token_bytes(id);
  const std::size_t tail = incomplete_tail(held_);
  std::string out = held_.substr(0, held_.size() - tail);
  held_.erase(0, held_.size() - tail);
  return out;
}

std::string StreamDecoder::finish() { return std::exchange(held_, ""); }

std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0, n; at < text.size(); at += n) {
    n = shown_character(text, at);
    if (character_at(text, at).code < 0) out += "\xEF\xBF\xBD";
    else out += text.substr(at, n);
  }
  return out;
}

}  // namespace weft
