// Token ids back to text, at once or as they come.
#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/utf8.h"
#include "text/characters/byte_level.h"
#include "text/characters/unicode.h"
#include "text/tokenizer_impl.h"

namespace weft {

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int byte = 0;
  for (char c : token.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                             : -1;
    if (digit < 0) return -1;
    byte = byte * 16 + digit;
  }
  return byte;
}

namespace {

// In the order in which the reference replaces.
std::string clean_up(std::string text) {
  static constexpr std::pair<std::string_view, std::string_view> kSteps[] = {
      {" .", "."},     {" ?", "?"},   {" !", "!"},   {" ,", ","},     {" ' ", "'"},
      {" n't", "n't"}, {" 'm", "'m"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kSteps) {
    std::string out;
    std::size_t at = 0;
    for (std::size_t found; (found = text.find(from, at)) != std::string::npos;
         at = found + from.size())
      out.append(text, at, found - at).append(to);
    if (at > 0) text = out.append(text, at);
  }
  return text;
}

// Bytes at the beginning of `text` whose cleaning no later text can change: up to a space with two
// others before it that are not ', or all where its last space has four others behind it.
std::size_t certain(std::string_view text) {
  const std::size_t last = text.rfind(' ');
  if (last == std::string_view::npos || last + 4 < text.size()) return text.size();
  const auto plain = [&](std::size_t i) { return text[i] != ' ' && text[i] != '\''; };
  for (std::size_t at = last; at >= 2; --at)
    if (text[at] == ' ' && plain(at - 1) && plain(at - 2)) return at;
  return 0;
}

// The decoders of a chain, those within Sequences too.
void list_decoders(const Json& json, std::vector<Json>& out) {
  if (!json.is_object()) return;
  if (json.value("type", "") != "Sequence") return out.push_back(json);
  for (const Json& part : json.value("decoders", Json::array())) list_decoders(part, out);
}

}  // namespace

std::string Tokenizer::Impl::chain(std::vector<std::string> list) const {
  std::string out;
  if (decoder) {
    for (const std::string& text : decoder->chain(std::move(list))) out += text;
    return out;
  }
  for (std::size_t i = 0; i < list.size(); ++i) out.append(i == 0 ? "" : " ").append(list[i]);
  return out;
}

void Tokenizer::Impl::choose_decoding() {
  std::vector<Json> parts;
  list_decoders(decoder ? parse_json(json_text(decoder->to_json())) : Json(), parts);
  const auto is = [](const Json& part, const char* type) { return part.value("type", "") == type; };
  byte_fallback = std::any_of(parts.begin(), parts.end(),
                              [&](const Json& part) { return is(part, "ByteFallback"); });
  if (characters || (parts.size() == 1 && is(parts[0], "ByteLevel"))) {
    decoding = Decoding::bytes;
    bytes_of = decoded;
    for (std::string& token : bytes_of) {
      if (const int byte = characters ? byte_of_token(token) : -1; byte >= 0)
        token = std::string(1, static_cast<char>(byte));
      else if (!characters)
        token = bytes_of_characters(token).value_or(token);
    }
    return;
  }
  bool fused = false;
  for (const Json& part : parts) {
    const bool strips_first_only =
        is(part, "Strip") && part.value("start", 0) <= 1 && part.value("stop", 0) == 0;
    if (is(part, "BPEDecoder") || is(part, "CTC") || is(part, "ByteLevel") ||
        (fused && !strips_first_only && !is(part, "Fuse")))
      decoding = Decoding::whole;
    fused = fused || is(part, "Fuse");
  }
  // Text that is under way is decoded behind an "a", which must come out as it went in.
  if (chain({"a"}) != "a" || chain({"a", "b"}).front() != 'a') decoding = Decoding::whole;
}

const std::string& Tokenizer::Impl::token_bytes(std::int32_t id) const {
  static const std::string nothing;
  if (id < 0 || id >= static_cast<std::int32_t>(tokens.size()))
    return nothing;  // models pad their tables
  const auto at = static_cast<std::size_t>(id);
  if (decoding == Decoding::bytes) return bytes_of[at];
  std::call_once(once_, [&] {
    learned_bytes_.resize(tokens.size());
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i].empty()) continue;
      if (const int byte = byte_fallback ? byte_of_token(tokens[i]) : -1; byte >= 0) {
        learned_bytes_[i] = std::string(1, static_cast<char>(byte));
        continue;
      }
      const std::string text = chain({"a", decoded[i]});
      learned_bytes_[i] = text.starts_with("a") ? text.substr(1) : chain({decoded[i]});
    }
  });
  return learned_bytes_[at];
}

std::string Tokenizer::decode(std::span<const std::int32_t> list, bool skip_special_tokens) const {
  const auto skipped = [&](std::int32_t i) {
    return i < 0 || i >= vocab_size() || (skip_special_tokens && is_special(i));
  };
  std::string out;
  if (impl_->decoding == Impl::Decoding::bytes) {
    for (std::int32_t i : list)
      if (!skipped(i)) out += impl_->bytes_of[static_cast<std::size_t>(i)];
  } else {
    std::vector<std::string> chosen;
    for (std::int32_t i : list)
      if (!skipped(i) && impl_->ids.contains(token(i)))
        chosen.push_back(impl_->decoded[static_cast<std::size_t>(i)]);
    out = impl_->chain(std::move(chosen));
  }
  return impl_->clean_up ? clean_up(std::move(out)) : out;
}

std::string StreamDecoder::text_of(std::vector<std::string> tokens) {
  if (started_) tokens.insert(tokens.begin(), "a");
  std::string text = impl_->chain(std::move(tokens));
  if (started_) text.erase(0, 1);
  started_ = true;
  return text;
}

std::string StreamDecoder::cleaned(std::string text, bool last) {
  if (!impl_->clean_up) return text;
  spaces_ += text;
  const std::size_t n = last ? spaces_.size() : certain(spaces_);
  text = clean_up(spaces_.substr(0, n));
  spaces_.erase(0, n);
  return text;
}

std::string StreamDecoder::push(std::int32_t id) {
  const auto at = static_cast<std::size_t>(id);
  if (id < 0 || at >= impl_->tokens.size() || impl_->tokens[at].empty() ||
      (skip_special_ && impl_->special[at]))
    return "";
  if (impl_->decoding == Tokenizer::Impl::Decoding::bytes) {
    bytes_ += impl_->bytes_of[at];
  } else {
    tokens_.push_back(impl_->decoded[at]);
    // A run of byte tokens shows its text when it is over: one that is broken would be shown
    // otherwise.
    if (impl_->decoding == Tokenizer::Impl::Decoding::whole ||
        (impl_->byte_fallback && byte_of_token(tokens_.back()) >= 0))
      return "";
    bytes_ += text_of(std::exchange(tokens_, {}));
  }
  const std::size_t tail = incomplete_tail(bytes_);
  std::string out = bytes_.substr(0, bytes_.size() - tail);
  bytes_.erase(0, bytes_.size() - tail);
  return cleaned(std::move(out), false);
}

std::string StreamDecoder::finish() {
  if (!tokens_.empty()) bytes_ += text_of(std::exchange(tokens_, {}));
  return cleaned(std::exchange(bytes_, ""), true);
}

}  // namespace weft
