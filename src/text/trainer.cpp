#include "text/trainer.h"

#include <algorithm>
#include <array>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "core/check.h"
#include "core/rng.h"
#include "text/byte_level.h"
#include "text/tokenizer_impl.h"
#include "text/unicode.h"

namespace weft {

struct TokenizerTrainer::Impl {
  TokenizerTraining options;
  std::unordered_map<std::string, std::int64_t, StringHash, std::equal_to<>> counts;  // of words, or of characters
};

TokenizerTrainer::TokenizerTrainer(TokenizerTraining options) : impl_(std::make_unique<Impl>()) {
  CHECK_USER(options.kind == "bpe" || options.kind == "char", "--kind is '{}'; allowed: bpe, char", options.kind);
  CHECK_USER(!options.special_tokens.empty(), "--special-tokens is empty; at least the end token is needed");
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
    const auto found = impl_->counts.find(piece);
    if (found != impl_->counts.end()) ++found->second;
    else impl_->counts.emplace(piece, 1);
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
void learn_merges(Tokenizer::Impl& t, std::vector<Word>& words, std::int64_t vocab_size, const std::function<void(double)>& progress) {
  struct Candidate {
    std::int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const { return count != other.count ? count < other.count : pair > other.pair; }
  };
  std::unordered_map<Pair, std::int64_t, PairHash> counts;
  std::unordered_map<Pair, std::unordered_set<std::size_t>, PairHash> where;
  for (std::size_t w = 0; w < words.size(); ++w)
    for (std::size_t i = 0; i + 1 < words[w].symbols.size(); ++i) {
      const Pair pair = {words[w].symbols[i], words[w].symbols[i + 1]};
      counts[pair] += words[w].count;
      where[pair].insert(w);
    }
  std::priority_queue<Candidate> queue;
  for (const auto& [pair, count] : counts) queue.push({count, pair});
  std::unordered_map<std::string, std::int32_t> ids;
  for (std::size_t i = 0; i < t.tokens.size(); ++i) ids[t.tokens[i]] = static_cast<std::int32_t>(i);

  const auto first = static_cast<double>(t.tokens.size());
  while (static_cast<std::int64_t>(t.tokens.size()) < vocab_size && !queue.empty()) {
    Candidate top = queue.top();
    queue.pop();
    if (const std::int64_t now = counts[top.pair]; now != top.count) {
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
    std::unordered_map<Pair, std::unordered_set<std::size_t>, PairHash> fresh;
    for (std::size_t w : where[top.pair]) {
      Word& word = words[w];
      merge_in(word.symbols, top.pair, result, [&](Pair pair, int delta) {
        counts[pair] += delta * word.count;
        if (delta > 0) fresh[pair].insert(w);
      });
    }
    where.erase(top.pair);
    for (auto& [pair, places] : fresh) {
      const std::int64_t count = counts[pair];
      where[pair].merge(places);
      if (count > 0) queue.push({count, pair});
    }
    if (progress && t.tokens.size() % 64 == 0) progress((static_cast<double>(t.tokens.size()) - first) / (static_cast<double>(vocab_size) - first));
  }
}

}  // namespace

Tokenizer TokenizerTrainer::finish(const std::function<void(double)>& progress) {
  const TokenizerTraining& options = impl_->options;
  auto t = std::make_shared<Tokenizer::Impl>();
  for (const std::string& token : options.special_tokens) {
    t->added.push_back({static_cast<std::int32_t>(t->tokens.size()), token, true});
    t->tokens.push_back(token);
  }
  t->eos = options.special_tokens.front();
  if (options.kind == "char") {
    t->kind = TokenizerKind::characters;
    for (std::size_t b = 0; b < 256; ++b) t->tokens.push_back(fmt::format("<0x{:02X}>", b));
    // The most frequent characters first; ties by code point. Whatever has no place is spelled in bytes.
    std::vector<std::pair<std::int64_t, std::string>> characters;
    for (const auto& [text, count] : impl_->counts)
      if (character_at(text, 0).code >= 0) characters.emplace_back(-count, text);
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
    for (const auto& [text, count] : impl_->counts) {
      Word word{{}, count};
      for (char b : text) word.symbols.push_back(id[static_cast<std::uint8_t>(b)]);
      words.push_back(std::move(word));
    }
    learn_merges(*t, words, options.vocab_size, progress);
  }
  t->finish("the trained tokenizer");
  return Tokenizer(t);
}

}  // namespace weft
