#include "text/tokenizer.h"

#include <algorithm>

#include "core/check.h"
#include "text/characters/unicode.h"
#include "text/tokenizer_impl.h"

namespace weft {

void Tokenizer::Impl::finish(const std::string& origin) {
  const std::vector<std::string>& own = model->tokens();
  tokens = own;
  for (const AddedToken& token : added.tokens()) {
    const auto at = static_cast<std::size_t>(token.id);
    if (at >= tokens.size()) tokens.resize(at + 1);
    tokens[at] = token.content;
    ids.emplace(token.content, token.id);
  }
  CHECK_USER(!tokens.empty(), "{}: the vocabulary is empty", origin);
  CHECK_USER(post_processor->largest_id() < static_cast<std::int64_t>(tokens.size()),
             "{}: post_processor adds a token with id {}; the vocabulary has 0 to {}", origin,
             post_processor->largest_id(), tokens.size() - 1);
  decoded = tokens;
  for (const AddedToken& token : added.tokens()) {
    if (!token.normalized || !normalizer) continue;
    NormalizedText content(token.content, 0, false);
    normalizer->apply(content);
    decoded[static_cast<std::size_t>(token.id)] = content.text();
  }
  spaces.resize(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) spaces[i] = spaces_of_token(tokens[i]);
  for (const AddedToken& token : added.tokens()) spaces[static_cast<std::size_t>(token.id)] = {};
  special.assign(tokens.size(), 0);
  for (const AddedToken& token : added.tokens())
    special[static_cast<std::size_t>(token.id)] = token.special;
  for (std::size_t i = 0; i < own.size(); ++i)
    if (!own[i].empty()) ids.emplace(own[i], static_cast<std::int32_t>(i));

  if (auto* bpe = dynamic_cast<BpeModel*>(model.get())) {
    if (pre_tokenizer && pre_tokenizer->is_byte_level() && bpe->can_read_bytes()) {
      bpe->read_bytes();
      bytes = bpe;
    } else if (pre_tokenizer) {
      bpe->learn_words();
    }
    clean_up =
        false;  // of BPE the reference does not clean up: it would take spaces that were there
    const Json chain = decoder ? parse_json(json_text(decoder->to_json())) : Json();
    const Json bytes_then_fuse = parse_json(R"([{"type": "ByteFallback"}, {"type": "Fuse"}])");
    characters = !normalizer && !pre_tokenizer && bpe->byte_fallback() && bpe->merges().empty() &&
                 chain.is_object() && chain.value("decoders", Json()) == bytes_then_fuse;
  }
  choose_decoding();
}

namespace {

// Where tokens go: with or without their places in the text.
struct Sink {
  std::vector<std::int32_t>& ids;
  std::vector<std::pair<std::int64_t, std::int64_t>>* offsets;
  void put(std::int32_t id, Place place) const {
    ids.push_back(id);
    if (offsets) offsets->emplace_back(place.begin, place.end);
  }
};

// Bytes that are not UTF-8 as U+FFFD.
void replace_broken(NormalizedText& text) {
  const std::string_view old = text.text();
  bool broken = false;
  for (std::size_t at = 0; at < old.size() && !broken;) {
    const Character c = character_at(old, at);
    broken = c.code < 0;
    at += c.bytes;
  }
  if (!broken) return;
  Rewriter out(text);
  for (std::size_t at = 0, n; at < old.size(); at += n) {
    n = shown_character_at(old, at).bytes;
    const Place place = {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at + n)};
    out.put_at(
        character_at(old, at).code < 0 ? std::string_view("\xEF\xBF\xBD") : old.substr(at, n),
        place);
  }
  out.finish();
}

// A character tokenizer keeps broken bytes: each is the byte token it would be spelled with.
void encode_characters(const Tokenizer::Impl& t, std::string_view text,
                       std::vector<PieceToken>& out) {
  std::size_t sound = 0;  // what has been encoded up to
  const auto encode_sound = [&](std::size_t end) {
    const std::size_t n = out.size();
    t.model->encode(text.substr(sound, end - sound), out);
    for (std::size_t i = n; i < out.size(); ++i) {
      out[i].begin += static_cast<std::uint32_t>(sound);
      out[i].end += static_cast<std::uint32_t>(sound);
    }
  };
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (c.code < 0) {
      encode_sound(at);
      const auto found = t.ids.find(fmt::format("<0x{:02X}>", static_cast<std::uint8_t>(text[at])));
      if (found != t.ids.end())
        out.push_back(
            {found->second, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at + 1)});
      sound = at + 1;
    }
    at += c.bytes;
  }
  encode_sound(text.size());
}

void encode_pieces(const Tokenizer::Impl& t, NormalizedText&& part,
                   std::vector<PieceToken>& scratch, const Sink& out) {
  const std::size_t size = part.text().size();
  PreTokenized cut = {std::move(part), {{0, size}}, false};
  if (t.pre_tokenizer) t.pre_tokenizer->apply(cut, t.bytes != nullptr);
  const std::string_view text = cut.text.text();
  for (const TextPiece& piece : cut.pieces) {
    const std::string_view bytes = text.substr(piece.begin, piece.end - piece.begin);
    if (t.bytes) {
      if (const std::int32_t id = t.bytes->find_word(bytes); id != WordTable::kAbsent) {
        out.put(id, out.offsets ? cut.text.place(piece.begin, piece.end) : Place{});
        continue;
      }
    }
    scratch.clear();
    if (t.bytes)
      t.bytes->encode_bytes(bytes, scratch);
    else if (t.characters)
      encode_characters(t, bytes, scratch);
    else
      t.model->encode(bytes, scratch);
    for (const PieceToken& token : scratch) {
      const std::size_t begin = std::min<std::size_t>(piece.begin + token.begin, piece.end - 1),
                        end = std::min<std::size_t>(piece.begin + token.end, piece.end);
      Place place;
      if (out.offsets)
        place = begin < end ? cut.text.place(begin, end)
                            : Place{cut.text.place(begin, begin + 1).begin,
                                    cut.text.place(begin, begin + 1).begin};
      out.put(token.id, place);
    }
  }
}

void encode_into(const Tokenizer::Impl& t, std::string_view text, const Sink& out) {
  CHECK_USER(text.size() < UINT32_MAX, "a text of {} bytes; at most 4 GiB can be tokenized at once",
             text.size());
  const bool aligned =
      out.offsets || (t.normalizer && t.pre_tokenizer && t.pre_tokenizer->needs_places());
  NormalizedText whole(text, 0, aligned);
  if (!t.bytes && !t.characters) replace_broken(whole);
  std::vector<Cut> raw, normalized;
  std::vector<PieceToken> scratch;
  t.added.cut(whole.text(), false, raw);
  for (const Cut& outer : raw) {
    if (outer.id >= 0) {
      out.put(outer.id, out.offsets ? whole.place(outer.begin, outer.end) : Place{});
      continue;
    }
    NormalizedText part = whole.slice(outer.begin, outer.end);
    if (t.normalizer) t.normalizer->apply(part);
    normalized.clear();
    t.added.cut(part.text(), true, normalized);
    for (const Cut& inner : normalized) {
      if (inner.id >= 0)
        out.put(inner.id, out.offsets ? part.place(inner.begin, inner.end) : Place{});
      else
        encode_pieces(t, part.slice(inner.begin, inner.end), scratch, out);
    }
  }
}

Encoding encode_one(const Tokenizer::Impl& t, std::string_view text, std::int32_t type) {
  Encoding out;
  encode_into(t, text, {out.ids, &out.offsets});
  out.type_ids.assign(out.ids.size(), type);
  out.added.assign(out.ids.size(), 0);
  out.mask.assign(out.ids.size(), 1);
  return out;
}

}  // namespace

std::vector<Encoding> Tokenizer::encode(std::string_view text, std::optional<std::string_view> pair,
                                        const EncodeOptions& options) const {
  Parts first = {encode_one(*impl_, text, 0), {}}, second;
  if (pair) second.first = encode_one(*impl_, *pair, 1);
  if (options.truncation) {
    const std::int64_t n_added =
        options.add_special_tokens ? impl_->post_processor->n_added(pair.has_value()) : 0;
    truncate(first, pair ? &second : nullptr, *options.truncation,
             options.truncation->max_length - n_added);
  }
  std::vector<Encoding> out;
  const auto put = [&](const Encoding& a, const Encoding& b) {
    out.push_back(impl_->post_processor->process(a, pair ? std::optional(b) : std::nullopt,
                                                 options.add_special_tokens, text,
                                                 pair.value_or(""), impl_->spaces));
  };
  // Every part of the first text with every part of the second, as the reference orders them.
  const auto with_second = [&](const Encoding& a, bool main) {
    if (main) put(a, second.first);
    for (const Encoding& b : second.overflow) put(a, b);
  };
  put(first.first, second.first);
  for (const Encoding& a : first.overflow) with_second(a, true);
  with_second(first.first, false);
  return out;
}

Encoding Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return impl_->post_processor->process(encode_one(*impl_, text, 0), std::nullopt,
                                        add_special_tokens, text, "", impl_->spaces);
}

Encoding Tokenizer::encode_pair(std::string_view text, std::string_view pair,
                                bool add_special_tokens) const {
  return impl_->post_processor->process(encode_one(*impl_, text, 0), encode_one(*impl_, pair, 1),
                                        add_special_tokens, text, pair, impl_->spaces);
}

std::vector<std::int32_t> Tokenizer::ids(std::string_view text) const {
  std::vector<std::int32_t> out;
  encode_into(*impl_, text, {out, nullptr});
  return out;
}

std::int64_t Tokenizer::vocab_size() const {
  return static_cast<std::int64_t>(impl_->tokens.size());
}

std::string Tokenizer::token(std::int32_t i) const {
  return i < 0 || i >= vocab_size() ? "" : impl_->tokens[static_cast<std::size_t>(i)];
}

const std::string& Tokenizer::token_bytes(std::int32_t i) const { return impl_->token_bytes(i); }

std::optional<std::int32_t> Tokenizer::id(std::string_view token) const {
  const auto found = impl_->ids.find(token);
  return found == impl_->ids.end() ? std::nullopt : std::optional(found->second);
}

bool Tokenizer::is_special(std::int32_t i) const {
  return i >= 0 && i < vocab_size() && impl_->special[static_cast<std::size_t>(i)];
}

bool Tokenizer::is_added(std::int32_t i) const {
  const std::vector<AddedToken>& list = impl_->added.tokens();
  const auto found = std::lower_bound(
      list.begin(), list.end(), i, [](const AddedToken& t, std::int32_t id) { return t.id < id; });
  return found != list.end() && found->id == i;
}

std::optional<std::int32_t> Tokenizer::special_id(std::string_view role) const {
  const auto found = impl_->special_tokens.find(std::string(role));
  return found == impl_->special_tokens.end() ? std::nullopt : id(found->second);
}

std::optional<std::int32_t> Tokenizer::eos_id() const {
  if (impl_->special_tokens.contains("eos_token")) return special_id("eos_token");
  for (const char* name : {"<|endoftext|>", "</s>"})
    if (const auto found = id(name)) return found;
  return std::nullopt;
}

std::string Tokenizer::kind() const {
  return impl_->characters ? "characters" : impl_->model->kind();
}
const std::map<std::string, std::string>& Tokenizer::special_tokens() const {
  return impl_->special_tokens;
}
const std::map<std::string, std::string>& Tokenizer::chat_templates() const {
  return impl_->chat_templates;
}
const std::optional<Truncation>& Tokenizer::file_truncation() const { return impl_->truncation; }
const std::optional<Padding>& Tokenizer::file_padding() const { return impl_->padding; }

}  // namespace weft
