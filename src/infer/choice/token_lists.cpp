#include "infer/choice/token_lists.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/check.h"
#include "core/utf8.h"

namespace weft {
namespace {

// A JSON list of what the text says, with its brackets or without.
Json list_of(const std::string& what, const std::string& text, const char* example) {
  const std::size_t first = text.find_first_not_of(' ');
  const bool bracketed = first != std::string::npos && text[first] == '[';
  const auto json = try_parse_json(bracketed ? text : "[" + text + "]");
  CHECK_USER(json && json->is_array(), "{} is {}; it must be {}", what,
             brief(Json(made_utf8(text))), example);
  return *json;
}

std::int32_t token_id(const TokenOption& option, const Json& id) {
  CHECK_USER(id.is_number_integer() && id >= 0 && id < option.vocab, "{} is '{}'; allowed: 0 to {}",
             option.what, brief(id), option.vocab - 1);
  return id.get<std::int32_t>();
}

bool is_bias(const Json& entry) {
  return entry.is_array() && entry.size() == 2 && entry[0].is_array() && entry[1].is_number();
}

constexpr const char* kSequence = "token ids, such as 3,17 or [3, 17]";
constexpr const char* kBias = "token ids and a bias, such as 3,17=-2.5 or [[3, 17], -2.5]";

// As the reference: single tokens first, then by length, the lengths in the order in which they
// appear.
void order_as_added(std::vector<SequenceBias>& biases) {
  std::map<std::size_t, std::size_t> rank = {{1, 0}};
  for (const SequenceBias& b : biases) rank.emplace(b.ids.size(), rank.size());
  std::ranges::stable_sort(biases, {},
                           [&](const SequenceBias& b) { return rank.at(b.ids.size()); });
}

}  // namespace

Json listed(const std::string& what, const std::vector<std::string>& entries) {
  Json all = Json::array();
  for (const std::string& entry : entries)
    for (const Json& value : list_of(what, entry, "numbers, such as 3,17 or [3, 17]"))
      all.push_back(value);
  return all;
}

std::vector<std::int32_t> token_ids(const TokenOption& option, const Json& list) {
  std::vector<std::int32_t> ids;
  for (const Json& id : list.is_array() ? list : Json::array({list}))
    ids.push_back(token_id(option, id));
  return ids;
}

std::vector<std::vector<std::int32_t>> token_sequences(const TokenOption& option,
                                                       const Json& list) {
  CHECK_USER(list.is_array(), "{} is {}; it must be a list of lists of token ids", option.what,
             brief(list));
  std::vector<std::vector<std::int32_t>> sequences;
  for (const Json& ids : list) {
    CHECK_USER(ids.is_array() && !ids.empty(), "{} holds {}; it must be {}", option.what,
               brief(ids), kSequence);
    sequences.push_back(token_ids(option, ids));
  }
  return sequences;
}

std::vector<std::vector<std::int32_t>> token_sequences(const TokenOption& option,
                                                       const std::vector<std::string>& entries) {
  Json all = Json::array();
  for (const std::string& entry : entries) {
    const Json list = list_of(option.what, entry, kSequence);
    const bool many = !list.empty() && list[0].is_array();
    for (const Json& ids : many ? list : Json::array({list})) all.push_back(ids);
  }
  return token_sequences(option, all);
}

std::vector<SequenceBias> sequence_biases(const TokenOption& option, const Json& list) {
  CHECK_USER(list.is_array(), "{} is {}; it must be a list of [[ids], bias]", option.what,
             brief(list));
  std::vector<SequenceBias> biases;
  for (const Json& entry : list) {
    CHECK_USER(is_bias(entry) && !entry[0].empty(), "{} holds {}; it must be {}", option.what,
               brief(entry), kBias);
    const double bias = entry[1].get<double>();
    CHECK_USER(std::abs(bias) <= std::numeric_limits<float>::max(),
               "{} holds a bias of {}; allowed: what fp32 holds", option.what, bias);
    std::vector<std::int32_t> ids = token_ids(option, entry[0]);
    const auto same = std::ranges::find(biases, ids, &SequenceBias::ids);
    if (same == biases.end())
      biases.push_back({.ids = std::move(ids), .bias = static_cast<float>(bias)});
    else
      same->bias = static_cast<float>(bias);
  }
  order_as_added(biases);
  return biases;
}

std::vector<SequenceBias> sequence_biases(const TokenOption& option,
                                          const std::vector<std::string>& entries) {
  Json all = Json::array();
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.rfind('=');
    const std::string text = equals == std::string::npos ? entry
                                                         : "[[" + entry.substr(0, equals) + "]," +
                                                               entry.substr(equals + 1) + "]";
    const Json list = list_of(option.what, text, kBias);
    const bool many =
        !list.empty() && list[0].is_array() && !list[0].empty() && list[0][0].is_array();
    for (const Json& bias : many ? list : Json::array({list})) all.push_back(bias);
  }
  return sequence_biases(option, all);
}

LengthDecay length_decay(const std::string& what, const Json& list) {
  CHECK_USER(list.is_array() && list.size() == 2 && list[0].is_number_integer() && list[0] >= 0 &&
                 list[0] <= 1 << 30 && list[1].is_number() && list[1] > 0 && list[1] <= 1e6,
             "{} is {}; it must be a number of new tokens and a factor above 0, such as 15,1.6",
             what, brief(list));
  return {.start = list[0].get<std::int64_t>(), .factor = list[1].get<double>()};
}

}  // namespace weft
