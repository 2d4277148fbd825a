// The vocabulary of a model: tokens by id, and ids by token.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/json.h"

namespace weft {

constexpr std::int64_t kMaxTokenId = (1 << 24) - 1;

bool is_token_id(const Json& value);  // a whole number from 0 to kMaxTokenId

class TokenList {
 public:
  // {"token": id, …}. UserErrors name `origin`: not an object, an id twice, an id past kMaxTokenId.
  static TokenList from_map(const Json& vocab, const std::string& origin);
  void push_back(std::string token);  // takes the next id; of equal tokens the last one is found

  std::optional<std::int32_t> find(std::string_view token) const;
  const std::vector<std::string>& tokens() const { return tokens_; }  // by id; empty: a hole
  OrderedJson to_map() const;  // {"token": id, …} in order of ids

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  std::vector<std::string> tokens_;
  std::vector<bool> used_;  // the empty text may be a token too
  std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>> ids_;
};

// model.<key>, which must be a string.
std::string model_string(const Json& model, const char* key, const std::string& otherwise,
                         const std::string& origin);

}  // namespace weft
