// Cutting tokenized texts to a length, and making several equally long.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/post_processor.h"

namespace weft {

struct Truncation {
  std::int64_t max_length = 512;  // with what the post-processor adds
  std::int64_t stride = 0;  // tokens that a part repeats of the one before it; below max_length
  std::string strategy = "longest_first";  // "only_first", "only_second"
  bool left = false;                       // cuts at the left
};

struct Padding {
  std::int64_t length = 0;       // 0: of the longest
  std::int64_t multiple_of = 0;  // 0: any
  bool left = false;
  std::int32_t id = 0, type_id = 0;
  std::string token = "[PAD]";
};

// One text in parts: the first, then what overflows.
struct Parts {
  Encoding first;
  std::vector<Encoding> overflow;
};

// Cuts a text, or a pair, to `room` tokens together. UserErrors: a stride that is not below the
// length, only_second without a second text, a text that is too short to take what must go.
void truncate(Parts& first, Parts* second, const Truncation& t, std::int64_t room);

void pad(std::vector<Encoding>& all, const Padding& padding);

// From and to the "truncation" and "padding" of a tokenizer.json; nothing for null.
std::optional<Truncation> read_truncation(const Json& json, const std::string& origin);
std::optional<Padding> read_padding(const Json& json, const std::string& origin);
OrderedJson to_json(const std::optional<Truncation>& truncation);
OrderedJson to_json(const std::optional<Padding>& padding);

}  // namespace weft
