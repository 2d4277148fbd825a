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
    whole.emplace(bytes[i], static_cast<std::int32_t>(i));
  }
}

namespace {

// The next added token at or after `from`: leftmost, and of those the longest.
const AddedToken* find_added(const std::vector<AddedToken>& added, std::string_view text, std::size_t from, std::size_t* where) {
  const AddedToken* best = nullptr;
  *where = text.size();
  for (const AddedToken& token : added) {
    const std::size_t at = text.find(token.content, from);
    if (at == std::string_view::npos) continue;
    if (at < *where || (at == *where && best && token.content.size() > best->content.size())) {
      best = &token;
      *where = at;
    }
  }
  return best;
}

void encode_words(const Tokenizer::Impl& t, std::string_view text, std::int64_t offset, Encoding& out) {
  std::vector<Symbol> word;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = gpt2_word_end(text, at);
    const std::string_view bytes = text.substr(at, end - at);
    const auto begin = offset + static_cast<std::int64_t>(at);
    if (const auto found = t.whole.find(bytes); found != t.whole.end()) {
      out.ids.push_back(found->second);
      out.offsets.emplace_back(begin, begin + static_cast<std::int64_t>(bytes.size()));
    } else {
      word.clear();
      for (char b : bytes) word.push_back({t.byte_ids[static_cast<std::uint8_t>(b)], 1});
      t.table.apply(word);
      std::int64_t place = begin;
      for (const Symbol& s : word) {
        out.ids.push_back(s.id);
        out.offsets.emplace_back(place, place + s.bytes);
        place += s.bytes;
      }
    }
    at = end;
  }
}

void encode_characters(const Tokenizer::Impl& t, std::string_view text, std::int64_t offset, Encoding& out) {
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    const std::string_view bytes = text.substr(at, c.bytes);
    const auto found = t.ids.find(bytes);
    const auto begin = offset + static_cast<std::int64_t>(at);
    if (found != t.ids.end()) {
      out.ids.push_back(found->second);
      out.offsets.emplace_back(begin, begin + static_cast<std::int64_t>(c.bytes));
    } else {
      for (std::size_t k = 0; k < c.bytes; ++k) {
        out.ids.push_back(t.byte_ids[static_cast<std::uint8_t>(bytes[k])]);
        out.offsets.emplace_back(begin + static_cast<std::int64_t>(k), begin + static_cast<std::int64_t>(k) + 1);
      }
    }
    at += c.bytes;
  }
}

}  // namespace

// Neither GPT-2's files nor the character tokenizer add tokens around a text, whatever add_special_tokens says.
Encoding Tokenizer::encode(std::string_view text, bool) const {
  Encoding out;
  out.ids.reserve(text.size() / 3 + 1);
  out.offsets.reserve(text.size() / 3 + 1);
  const Impl& t = *impl_;
  const auto piece = [&](std::size_t begin, std::size_t end) {
    if (begin == end) return;
    const std::string_view part = text.substr(begin, end - begin);
    if (t.kind == TokenizerKind::characters) return encode_characters(t, part, static_cast<std::int64_t>(begin), out);
    if (t.add_prefix_space && class_of(character_at(part, 0).code) != CharClass::space) {
      const std::size_t first = out.ids.size();
      encode_words(t, ' ' + std::string(part), static_cast<std::int64_t>(begin) - 1, out);
      if (out.ids.size() > first) out.offsets[first].first = static_cast<std::int64_t>(begin);
      return;
    }
    encode_words(t, part, static_cast<std::int64_t>(begin), out);
  };
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t where = 0;
    const AddedToken* token = find_added(t.added, text, at, &where);
    piece(at, where);
    if (!token) break;
    at = where + token->content.size();
    out.ids.push_back(token->id);
    out.offsets.emplace_back(static_cast<std::int64_t>(where), static_cast<std::int64_t>(at));
  }
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
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (c.code < 0) out += "\xEF\xBF\xBD";
    else out += text.substr(at, c.bytes);
    at += c.bytes;
  }
  return out;
}

}  // namespace weft
