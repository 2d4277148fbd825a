#include "text/trainer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <queue>
#include <unordered_map>
#include <utility>

#include "core/check.h"
#include "core/rng.h"
#include "text/byte_level.h"
#include "text/unicode.h"
#include "text/word_table.h"

namespace weft {
namespace {

// <0x00> ... <0xFF>: how the character tokenizer spells bytes.
bool is_byte_token(const std::string& token) {
  unsigned byte = 0;
  return token.size() == 6 && std::sscanf(token.c_str(), "<0x%2X>", &byte) == 1;
}

}  // namespace

struct TokenizerTrainer::Impl {
  TokenizerTraining options;
  WordTable numbers;                 // of the words, or of the characters, as they came
  std::vector<std::string> words;    // by number
  std::vector<std::int64_t> counts;  // by number
};

TokenizerTrainer::TokenizerTrainer(TokenizerTraining options) : impl_(std::make_unique<Impl>()) {
  CHECK_USER(options.kind == "bpe" || options.kind == "char", "--kind is '{}'; allowed: bpe, char", options.kind);
  CHECK_USER(!options.special_tokens.empty(), "--special-tokens is empty; at least the end token is needed");
  for (std::size_t i = 0; i < options.special_tokens.size(); ++i) {
    const std::string& token = options.special_tokens[i];
    CHECK_USER(!token.empty() && valid_utf8(token) == token, "--special-tokens has '{}'; allowed: texts in UTF-8 that are not empty", valid_utf8(token));
    CHECK_USER(std::find(options.special_tokens.begin(), options.special_tokens.begin() + static_cast<std::ptrdiff_t>(i), token) ==
                   options.special_tokens.begin() + static_cast<std::ptrdiff_t>(i), "--special-tokens has '{}' twice", token);
    const bool of_alphabet = character_at(token, 0).bytes == token.size() && (options.kind == "char" || bytes_of_characters(token));
    CHECK_USER(!of_alphabet && !is_byte_token(token), "--special-tokens has '{}', which the tokenizer needs for itself; choose a longer one", token);
  }
  const auto least = static_cast<std::int64_t>(256 + options.special_tokens.size());
  CHECK_USER(options.vocab_size >= least && options.vocab_size < (1 << 24), "--vocab-size is {}; allowed: {} (256 bytes and the special tokens) to {}",
             options.vocab_size, least, (1 << 24) - 1);
  impl_->options = std::move(options);
}
TokenizerTrainer::~TokenizerTrainer() = default;

void TokenizerTrainer::add(std::string_view text) {
  const bool words = impl_->options.kind == "bpe";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = words ? gpt2_word_end(text, at) : at + character_at(text, at).bytes;
    const std::string_view piece = text.substr(at, end - at);
    const auto next = static_cast<std::int32_t>(impl_->words.size());
    const std::int32_t number = impl_->numbers.insert(piece, next);
    if (number == next) {
      impl_->words.emplace_back(piece);
      impl_->counts.push_back(0);
    }
    ++impl_->counts[static_cast<std::size_t>(number)];
    at = end;
  }
}

namespace {

using Pair = std::pair<std::int32_t, std::int32_t>;
struct PairHash {
  std::size_t operator()(const Pair& p) const {
    return mix64(static_cast<std::uint64_t>(static_cast<std::uint32_t>(p.first)) << 32 | static_cast<std::uint32_t>(p.second));
  }
};

struct Learned {
  std::vector<std::string> tokens;  // by id
  std::vector<std::pair<std::string, std::string>> merges;
};

struct Word {
  std::vector<std::int32_t> symbols;
  std::int64_t count;
};

// How the counts of neighbouring pairs change where (left, right) becomes `result` in one word.
template <class Change>
void merge_in(std::vector<std::int32_t>& s, Pair pair, std::int32_t result, const Change& change) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < s.size();) {
    if (i + 1 < s.size() && s[i] == pair.first && s[i + 1] == pair.second) {
      if (kept > 0) {
        change(Pair{s[kept - 1], pair.first}, -1);
        change(Pair{s[kept - 1], result}, +1);
      }
      if (i + 2 < s.size()) {
        change(Pair{pair.second, s[i + 2]}, -1);
        change(Pair{result, s[i + 2]}, +1);
      }
      s[kept++] = result;
      i += 2;
    } else {
      s[kept++] = s[i++];
    }
  }
  s.resize(kept);
}

// Learns merges as Hugging Face's BpeTrainer: always the most frequent pair, ties to the smallest pair of ids; nothing seen less than
// twice.
void learn_merges(Learned& t, std::vector<Word>& words, std::int64_t vocab_size, const std::function<void(double)>& progress) {
  struct Candidate {
    std::int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const { return count != other.count ? count < other.count : pair > other.pair; }
  };
  struct Occurrences {
    std::int64_t count = 0;
    std::vector<std::uint32_t> words;  // in which it is or was
  };
  std::unordered_map<Pair, Occurrences, PairHash> pairs;
  for (std::uint32_t w = 0; w < words.size(); ++w)
    for (std::size_t i = 0; i + 1 < words[w].symbols.size(); ++i) {
      Occurrences& pair = pairs[{words[w].symbols[i], words[w].symbols[i + 1]}];
      pair.count += words[w].count;
      if (pair.words.empty() || pair.words.back() != w) pair.words.push_back(w);
    }
  std::priority_queue<Candidate> queue;
  for (const auto& [pair, found] : pairs) queue.push({found.count, pair});
  std::unordered_map<std::string, std::int32_t> ids;
  for (std::size_t i = 0; i < t.tokens.size(); ++i) ids[t.tokens[i]] = static_cast<std::int32_t>(i);

  const auto first = static_cast<double>(t.tokens.size());
  while (static_cast<std::int64_t>(t.tokens.size()) < vocab_size && !queue.empty()) {
    Candidate top = queue.top();
    queue.pop();
    if (const std::int64_t now = pairs[top.pair].count; now != top.count) {
      if (now > 0) queue.push({now, top.pair});
      continue;
    }
    if (top.count < 2) break;
    const std::string &left = t.tokens[static_cast<std::size_t>(top.pair.first)], &right = t.tokens[static_cast<std::size_t>(top.pair.second)];
    t.merges.emplace_back(left, right);
    const std::string joined = left + right;
    auto [entry, is_new] = ids.try_emplace(joined, static_cast<std::int32_t>(t.tokens.size()));
    if (is_new) t.tokens.push_back(joined);
    const std::int32_t result = entry->second;
    const std::vector<std::uint32_t> places = std::exchange(pairs[top.pair].words, {});
    std::vector<Pair> fresh;
    for (const std::uint32_t w : places)
      merge_in(words[w].symbols, top.pair, result, [&](Pair pair, int delta) {
        Occurrences& changed = pairs[pair];
        changed.count += delta * words[w].count;
        if (delta < 0) return;
        if (changed.words.empty() || changed.words.back() != w) changed.words.push_back(w);
        if (fresh.empty() || fresh.back() != pair) fresh.push_back(pair);
      });
    std::sort(fresh.begin(), fresh.end());
    fresh.erase(std::unique(fresh.begin(), fresh.end()), fresh.end());
    for (const Pair& pair : fresh)
      if (const std::int64_t count = pairs[pair].count; count > 0) queue.push({count, pair});
    if (progress && t.tokens.size() % 64 == 0) progress((static_cast<double>(t.tokens.size()) - first) / (static_cast<double>(vocab_size) - first));
  }
}

}  // namespace

Tokenizer TokenizerTrainer::finish(const std::function<void(double)>& progress) {
  const TokenizerTraining& options = impl_->options;
  Learned learned, *t = &learned;
  t->tokens = options.special_tokens;
  if (options.kind == "char") {
    for (std::size_t b = 0; b < 256; ++b) t->tokens.push_back(fmt::format("<0x{:02X}>", b));
    // The most frequent characters first; ties by code point. Whatever has no place is spelled in bytes.
    std::vector<std::pair<std::int64_t, std::string>> characters;
    for (std::size_t i = 0; i < impl_->words.size(); ++i)
      if (character_at(impl_->words[i], 0).code >= 0) characters.emplace_back(-impl_->counts[i], impl_->words[i]);
    std::sort(characters.begin(), characters.end());
    for (const auto& [count, text] : characters)
      if (static_cast<std::int64_t>(t->tokens.size()) < options.vocab_size) t->tokens.push_back(text);
  } else {
    std::array<std::string, 256> alphabet = byte_characters();
    std::array<std::size_t, 256> order{};
    for (std::size_t b = 0; b < 256; ++b) order[b] = b;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return character_at(alphabet[a], 0).code < character_at(alphabet[b], 0).code; });
    std::array<std::int32_t, 256> id{};
    for (std::size_t b : order) {
      id[b] = static_cast<std::int32_t>(t->tokens.size());
      t->tokens.push_back(alphabet[b]);
    }
    std::vector<Word> words;
    for (std::size_t i = 0; i < impl_->words.size(); ++i) {
      Word word{{}, impl_->counts[i]};
      for (char b : impl_->words[i]) word.symbols.push_back(id[static_cast<std::uint8_t>(b)]);
      words.push_back(std::move(word));
    }
    learn_merges(*t, words, options.vocab_size, progress);
  }
  Json json = {{"added_tokens", Json::array()}, {"weft", {{"eos_token", options.special_tokens.front()}}}};
  for (std::size_t i = 0; i < options.special_tokens.size(); ++i)
    json["added_tokens"].push_back({{"id", i}, {"content", options.special_tokens[i]}, {"special", true}});
  Json& model = json["model"] = {{"type", "BPE"}, {"byte_fallback", options.kind == "char"}, {"vocab", Json::object()}, {"merges", Json::array()}};
  for (std::size_t i = 0; i < t->tokens.size(); ++i) model["vocab"][t->tokens[i]] = i;
  for (const auto& [left, right] : t->merges) model["merges"].push_back(Json::array({left, right}));
  if (options.kind == "char") json["decoder"] = Json::parse(R"({"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]})");
  else json["pre_tokenizer"] = json["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  return Tokenizer::from_json(json.dump(), "the trained tokenizer");
}

}  // namespace weft
