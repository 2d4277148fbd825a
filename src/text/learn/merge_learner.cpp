#include "text/learn/merge_learner.h"

#include <algorithm>
#include <queue>
#include <unordered_map>

#include "core/rng.h"

namespace weft {
namespace {

using Pair = MergedPair;
struct PairHash {
  std::size_t operator()(const Pair& p) const {
    return mix64(static_cast<std::uint64_t>(static_cast<std::uint32_t>(p.first)) << 32 |
                 static_cast<std::uint32_t>(p.second));
  }
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

}  // namespace

std::vector<MergedPair> learn_merges(std::vector<std::string>& tokens,
                                     std::vector<CountedWord>& words, const MergeLearning& options,
                                     const std::function<void(double)>& progress) {
  struct Candidate {
    std::int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
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
  for (std::size_t i = 0; i < tokens.size(); ++i) ids[tokens[i]] = static_cast<std::int32_t>(i);

  std::vector<Pair> merges;
  const auto first = static_cast<double>(tokens.size());
  while (static_cast<std::int64_t>(tokens.size()) < options.vocab_size && !queue.empty()) {
    Candidate top = queue.top();
    queue.pop();
    if (const std::int64_t now = pairs[top.pair].count; now != top.count) {
      if (now > 0) queue.push({now, top.pair});
      continue;
    }
    if (top.count < std::max<std::int64_t>(1, options.min_frequency)) break;
    const std::string &left = tokens[static_cast<std::size_t>(top.pair.first)],
                      &right = tokens[static_cast<std::size_t>(top.pair.second)];
    merges.push_back(top.pair);
    const bool continues =
        !options.continuing_prefix.empty() && right.starts_with(options.continuing_prefix);
    const std::string joined =
        left + (continues ? right.substr(options.continuing_prefix.size()) : right);
    auto [entry, is_new] = ids.try_emplace(joined, static_cast<std::int32_t>(tokens.size()));
    if (is_new) tokens.push_back(joined);
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
    if (progress && tokens.size() % 64 == 0)
      progress((static_cast<double>(tokens.size()) - first) /
               (static_cast<double>(options.vocab_size) - first));
  }
  return merges;
}

}  // namespace weft
