// Tokens beside the model's: found in the text before the model sees it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"
#include "text/normalizer.h"

namespace weft {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool special = true;  // left out by decode(skip_special_tokens)
  bool normalized =
      false;  // looked for, itself normalized, in the normalized text, after those that are not
  bool single_word = false;             // only where no word character stands beside it
  bool lstrip = false, rstrip = false;  // takes the white space beside it
  bool operator==(const AddedToken&) const = default;
};

AddedToken read_added_token(const Json& entry, std::int64_t id,
                            const std::string& origin);  // id -1: the entry has it
OrderedJson to_json(const AddedToken& token);

// Part of a text: an added token, or what the model is to see (id -1).
struct Cut {
  std::size_t begin = 0, end = 0;
  std::int32_t id = -1;
};

// Finds strings, the leftmost and of those the longest, by a trie: one step a byte, and one where
// no string begins.
class TokenFinder {
 public:
  void insert(std::string_view text, std::int32_t value);  // of equal texts the last stays
  bool empty() const { return nodes_.size() < 2; }
  // The next at or after `at`; false: none.
  bool find(std::string_view text, std::size_t at, std::size_t& begin, std::size_t& end,
            std::int32_t& value) const;

 private:
  struct Edge {
    std::uint64_t key = ~0ull;  // node << 8 | byte
    std::int32_t node = 0;
  };
  std::int32_t step(std::int32_t node, std::uint8_t byte) const;
  void put(std::uint64_t key, std::int32_t node);
  std::vector<std::int32_t> nodes_ = {-1};  // value of the string that ends there
  std::vector<Edge> edges_ = std::vector<Edge>(16);
  std::size_t n_edges_ = 0;
  std::array<std::int32_t, 256> first_{};  // node of a first byte; 0: none
};

class AddedTokens {
 public:
  AddedTokens() = default;
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer);
  const std::vector<AddedToken>& tokens() const { return tokens_; }  // by id
  // All of the text, in order.
  void cut(std::string_view text, bool normalized, std::vector<Cut>& out) const;

 private:
  std::vector<AddedToken> tokens_;
  TokenFinder raw_, normalized_;
};

}  // namespace weft
