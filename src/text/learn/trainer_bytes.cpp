// Byte-level BPE (GPT-2) and characters: every text can be spelled, so neither needs an unknown
// token.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "text/characters/byte_level.h"
#include "text/characters/unicode.h"
#include "text/learn/merge_learner.h"
#include "text/learn/trainer_kinds.h"

namespace weft {
namespace {

// <0x00> ... <0xFF>: how the character tokenizer spells bytes.
bool is_byte_token(const std::string& token) {
  unsigned byte = 0;
  return token.size() == 6 && std::sscanf(token.c_str(), "<0x%2X>", &byte) == 1;
}

bool is_one_character(const std::string& token) {
  return character_at(token, 0).bytes == token.size();
}

OrderedJson bpe_model(const std::vector<std::string>& tokens, bool byte_fallback) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", byte_fallback},
          {"ignore_merges", false},
          {"vocab", vocab_json(tokens)},
          {"merges", OrderedJson::array()}};
}

void cut_words(std::string_view text, const TakePiece& take) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = gpt2_word_end(text, at);
    take(text.substr(at, end - at));
    at = end;
  }
}

LearnedTokenizer learn_bpe(const TokenizerTraining& options, const PieceCounts& counts,
                           const Progress& progress) {
  std::vector<std::string> tokens = options.special_tokens;
  const std::array<std::string, 256>& alphabet = byte_characters();
  std::array<std::size_t, 256> order{};
  for (std::size_t b = 0; b < 256; ++b) order[b] = b;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return character_at(alphabet[a], 0).code < character_at(alphabet[b], 0).code;
  });
  std::array<std::int32_t, 256> id{};
  for (std::size_t b : order) {
    id[b] = static_cast<std::int32_t>(tokens.size());
    tokens.push_back(alphabet[b]);
  }
  std::vector<CountedWord> words;
  for (const PieceCount& piece : counts) {
    CountedWord word{{}, piece.count};
    for (char b : piece.text) word.symbols.push_back(id[static_cast<std::uint8_t>(b)]);
    words.push_back(std::move(word));
  }
  const auto merges = learn_merges(
      tokens, words,
      {.vocab_size = options.vocab_size, .min_frequency = 2, .continuing_prefix = ""}, progress);
  LearnedTokenizer t;
  t.model = bpe_model(tokens, false);
  const auto token = [&](std::int32_t i) -> const std::string& {
    return tokens[static_cast<std::size_t>(i)];
  };
  for (const auto& [left, right] : merges)
    t.model["merges"].push_back(token(left) + " " + token(right));
  t.pre_tokenizer = t.decoder = {{"type", "ByteLevel"},
                                 {"add_prefix_space", false},
                                 {"trim_offsets", true},
                                 {"use_regex", true}};
  t.post_processor = {{"type", "ByteLevel"},
                      {"add_prefix_space", true},
                      {"trim_offsets", false},
                      {"use_regex", true}};
  return t;
}

void cut_characters(std::string_view text, const TakePiece& take) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t n = character_at(text, at).bytes;
    take(text.substr(at, n));
    at += n;
  }
}

LearnedTokenizer learn_characters(const TokenizerTraining& options, const PieceCounts& counts,
                                  const Progress&) {
  std::vector<std::string> tokens = options.special_tokens;
  for (std::size_t b = 0; b < 256; ++b) tokens.push_back(fmt::format("<0x{:02X}>", b));
  // The most frequent characters first; ties by code point. Whatever has no place is spelled in
  // bytes.
  std::vector<std::pair<std::int64_t, std::string>> characters;
  for (const PieceCount& piece : counts)
    if (character_at(piece.text, 0).code >= 0) characters.emplace_back(-piece.count, piece.text);
  std::sort(characters.begin(), characters.end());
  for (const auto& [count, text] : characters)
    if (static_cast<std::int64_t>(tokens.size()) < options.vocab_size) tokens.push_back(text);
  LearnedTokenizer t;
  t.model = bpe_model(tokens, true);
  t.decoder = {{"type", "Sequence"},
               {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}};
  return t;
}

}  // namespace

TrainerKind bpe_kind() {
  const auto reserves = [](const std::string& token) {
    return (is_one_character(token) && bytes_of_characters(token)) || is_byte_token(token);
  };
  return {"bpe", {"<|endoftext|>"}, false, reserves, 256, cut_words, learn_bpe};
}

TrainerKind char_kind() {
  const auto reserves = [](const std::string& token) {
    return is_one_character(token) || is_byte_token(token);
  };
  return {"char", {"<|endoftext|>"}, false, reserves, 256, cut_characters, learn_characters};
}

}  // namespace weft
