// A trie of tokens over bytes: which tokens begin a text, shortest first.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace weft {

class TokenTrie {
 public:
  static constexpr std::int32_t kNone = -1;
  static constexpr std::uint32_t kRoot = 0, kNowhere = 0xFFFFFFFFu;

  explicit TokenTrie(std::size_t n_bytes = 0);  // of all tokens together, for the size of the table
  void insert(std::string_view token, std::int32_t value);  // the last value given to a token stays
  // The node one byte further, kNowhere where no token goes on so; the value of the token that ends
  // in a node, kNone where none does.
  std::uint32_t step(std::uint32_t node, char byte) const;
  std::int32_t value(std::uint32_t node) const { return values_[node]; }
  std::uint32_t walk(std::uint32_t node, std::string_view bytes) const;

 private:
  // Edges in open addressing: (node, byte) -> node.
  struct Edge {
    std::uint64_t key = ~0ull;
    std::uint32_t node = 0;
  };
  std::size_t slot(std::uint64_t key) const;
  void grow();
  std::vector<Edge> edges_;
  std::vector<std::int32_t> values_;  // by node
};

}  // namespace weft
