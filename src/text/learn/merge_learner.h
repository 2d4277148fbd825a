// The merges of byte-pair encoding, learned from counted words (Sennrich et al., 2016), as Hugging
// Face's BpeTrainer.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace weft {

struct CountedWord {
  std::vector<std::int32_t> symbols;  // ids
  std::int64_t count = 0;
};

struct MergeLearning {
  std::int64_t vocab_size = 0;
  std::int64_t min_frequency = 2;
  std::string continuing_prefix;  // left off the right part where two tokens are joined ("##")
};

// Always the most frequent pair, ties to the smallest pair of ids. New tokens are appended to
// `tokens`; the merges come back as ids.
using MergedPair = std::pair<std::int32_t, std::int32_t>;
std::vector<MergedPair> learn_merges(std::vector<std::string>& tokens,
                                     std::vector<CountedWord>& words, const MergeLearning& options,
                                     const std::function<void(double)>& progress);

}  // namespace weft
