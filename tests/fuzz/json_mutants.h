// Mutants of a JSON text that are still JSON: what is wrong is a key, a type, a number, a name.
// Seeded, as Mutator.
#pragma once

#include <algorithm>
#include <array>
#include <string>

#include "core/rng.h"
#include "io/json.h"

namespace weft::test {

class JsonMutator {
 public:
  explicit JsonMutator(const std::string& valid) : valid_(parse_ordered_json(valid)) {}

  std::string mutant(std::uint64_t number) {
    state_ = mix64(number + 1);
    OrderedJson json = valid_;
    const std::size_t times = 1 + random(3);
    for (std::size_t i = 0; i < times; ++i) change(*place(json));
    return json_text(json);
  }

 private:
  std::size_t random(std::size_t below) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>((state_ >> 33) % std::max<std::size_t>(below, 1));
  }

  // Walks down, so that what is small and near the root is met as often as one of a thousand
  // tokens.
  OrderedJson* place(OrderedJson& root) {
    OrderedJson* at = &root;
    while (at->is_structured() && !at->empty() && (at == &root || random(6) != 0))
      at = &*std::next(at->begin(), static_cast<std::ptrdiff_t>(random(at->size())));
    return at;
  }

  void change(OrderedJson& at) {
    switch (random(9)) {
      case 0:
        at = absurd_value();
        break;
      case 1:
        if (at.is_structured() && !at.empty())
          at.erase(std::next(at.begin(), static_cast<std::ptrdiff_t>(random(at.size()))));
        else
          at = nullptr;
        break;
      case 2:
        at = *place(valid_);
        break;  // what belongs elsewhere
      case 3:
        for (std::size_t depth = 1 + random(95); depth > 0; --depth) at = wrapped(std::move(at));
        break;
      case 4:
        if (at.is_array() && !at.empty())
          at.push_back(at[random(at.size())]);  // twice
        else if (at.is_object() && !at.empty())
          at["another"] = *at.begin();
        else
          at = absurd_value();
        break;
      case 5:
        if (at.is_object())
          at["type"] = absurd_name();
        else if (at.is_string())
          at = absurd_name();
        else
          at = absurd_number();
        break;
      case 6:
        at = absurd_number();
        break;
      case 7:
        if (at.is_string())
          at = text_of(at.get<std::string>());
        else
          at = absurd_value();
        break;
      case 8:
        if (at.is_array() && at.size() > 1)
          std::swap(at[random(at.size())], at[random(at.size())]);
        else if (at.is_object() && at.size() > 1) {
          OrderedJson& one =
              std::next(at.begin(), static_cast<std::ptrdiff_t>(random(at.size()))).value();
          one = at.begin().value();
        } else {
          at = absurd_number();
        }
        break;
    }
  }

  OrderedJson wrapped(OrderedJson inner) {
    static constexpr std::array<const char*, 4> kLists = {"normalizers", "pretokenizers",
                                                          "processors", "decoders"};
    if (random(8) == 0) return OrderedJson::array({std::move(inner)});
    const char* list = inner.is_object() && inner.contains("decoders")
                           ? "decoders"
                           : kLists[random(kLists.size())];
    return {{"type", "Sequence"}, {list, OrderedJson::array({std::move(inner)})}};
  }

  OrderedJson absurd_number() {
    static const std::array<OrderedJson, 12> kNumbers = {
        -1,        0,     1,    1'000'000'000, 2147483648u, 18446744073709551615u,
        INT64_MIN, 1e300, -0.5, 1e-320,        16777216,    255};
    return kNumbers[random(kNumbers.size())];
  }
  OrderedJson absurd_name() {
    static constexpr std::array<const char*, 28> kNames = {"",
                                                           "Unheard",
                                                           "BPE",
                                                           "Unigram",
                                                           "WordPiece",
                                                           "WordLevel",
                                                           "Sequence",
                                                           "ByteLevel",
                                                           "Metaspace",
                                                           "Replace",
                                                           "Strip",
                                                           "Split",
                                                           "Precompiled",
                                                           "TemplateProcessing",
                                                           "BertProcessing",
                                                           "Fuse",
                                                           "ByteFallback",
                                                           "CTC",
                                                           "BPEDecoder",
                                                           "Digits",
                                                           "Punctuation",
                                                           "Whitespace",
                                                           "NFKC",
                                                           "BertNormalizer",
                                                           "Lowercase",
                                                           "RobertaProcessing",
                                                           "Isolated",
                                                           "Removed"};
    return kNames[random(kNames.size())];
  }
  OrderedJson absurd_value() {
    static const std::array<OrderedJson, 12> kValues = {
        nullptr,
        true,
        false,
        "",
        "text",
        "\xE2\x96\x81",
        "[",
        "(a+)+b",
        OrderedJson::array(),
        OrderedJson::object(),
        0.5,
        OrderedJson::array({OrderedJson::array({"a", 1})})};
    return random(3) == 0 ? absurd_number() : kValues[random(kValues.size())];
  }
  std::string text_of(std::string text) {
    switch (random(5)) {
      case 0:
        return text.substr(0, random(text.size() + 1));
      case 1:
        return text.append(text);
      case 2:
        return text.insert(0, 1'000, 'a');
      case 3:
        return text.insert(random(text.size() + 1), random(2) ? "(" : "\\");
      default:
        return text.insert(0, 1, '\0');
    }
  }

  OrderedJson valid_;
  std::uint64_t state_ = 0;
};

}  // namespace weft::test
