// All segmentations of a piece into tokens of a unigram model, for training it: the best ones, and
// how often each token is expected. Node for node as Hugging Face's Lattice, so that sums and ties
// come out alike.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/token_trie.h"

namespace weft {

struct UnigramPiece {
  std::string text;
  double score = 0;  // log probability
};

// Token 0 stands for characters that no token covers.
class UnigramTrie {
 public:
  explicit UnigramTrie(const std::vector<UnigramPiece>& pieces);

  TokenTrie trie;
  std::vector<double> scores;
  double min_score = 0;
};

class UnigramLattice {
 public:
  void build(std::string_view text, const UnigramTrie& model);
  std::vector<std::int32_t> best();                   // ids of the likeliest segmentation
  std::vector<std::vector<std::int32_t>> two_best();  // ids of the likeliest ones: one or two
  double add_expected(
      double count, std::vector<double>& expected);  // by id; gives count times the log likelihood

 private:
  struct Node {
    std::int32_t id = 0;
    std::uint32_t begin = 0, end = 0;
    double score = 0, best = 0;  // best: of the path up to here
    std::int32_t previous = -1;
  };
  using List = std::vector<std::uint32_t>;
  void add(std::int32_t id, std::size_t begin, std::size_t end, double score);
  void find_best();

  std::vector<Node> nodes_;        // 0: before the text; 1: behind it
  std::vector<List> begin_, end_;  // nodes by place
  std::size_t size_ = 0;
  std::vector<double> alpha_, beta_;
};

}  // namespace weft
