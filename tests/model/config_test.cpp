// The one list of ModelConfig's fields: complete, and what validation, equality and logs make of
// it.
#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "core/check.h"
#include "model/config_fields.h"

namespace weft {
namespace {

// A field more or less stops the build of these two: visit it in model/config_fields.h, then count
// it here.
constexpr std::size_t kFields = 56, kRopeFields = 14;
[[maybe_unused]] void count_fields(ModelConfig& config, Rope& rope) {
  [[maybe_unused]] auto& [a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7,
                          b8, b9, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, d0, d1, d2, d3, d4, d5,
                          d6, d7, d8, d9, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, f0, f1, f2, f3,
                          f4, f5] = config;
  [[maybe_unused]] auto& [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, s0, s1, s2, s3] = rope;
}

// What is true of every model here, so that every field decides what it can.
ModelConfig classifier() {
  ModelConfig c;
  c.head = HeadKind::classify;
  c.head_transform = c.token_dropout = true;
  c.rope.dims = 64;
  c.pad_id = 3, c.mask_id = 4;
  return c;
}

// Another value that the field may have.
struct Change {
  template <class E, std::size_t n>
  static void of(E& value, const Word<E> (&table)[n]) {
    value = table[0].value == value ? table[1].value : table[0].value;
  }
  template <class T>
  static void of(std::vector<T>& list, const Integers&) {
    list.push_back(1);
  }
  static void of(std::vector<double>& list, const Reals&) { list.push_back(1.5); }
  static void of(std::vector<std::string>& list, const Anything&) { list.push_back("more"); }
  template <class T>
  static void of(T& value, const Integers&) {
    value += 1;
  }
  template <class T>
  static void of(T& value, const Reals& allowed) {
    value = static_cast<T>(value == 0.25 ? 0.125 : std::min(0.25, allowed.max));
  }
  static void of(bool& value, const Anything&) { value = !value; }
  static void of(std::string& value, const Anything&) { value += "x"; }
  static void of(Json& value, const Anything&) { value = {{"model_type", "gpt2"}}; }
};

TEST(ModelConfig, EveryFieldIsVisitedOnce) {
  ModelConfig c;
  std::set<std::string> names;
  std::set<const void*> places;
  visit_fields(c, [&](const char* name, auto& value, const auto&, Decides) {
    names.insert(name);
    places.insert(&value);
  });
  EXPECT_EQ(places.size(), kFields - 1 + kRopeFields);  // the rope's in place of itself
  EXPECT_EQ(names.size(), places.size());
}

TEST(ModelConfig, ADifferenceInEachFieldThatDecidesTheModelIsNamed) {
  std::set<std::string> not_compared;
  const ModelConfig before = classifier();
  ModelConfig list = before;
  visit_fields(list, [&](const std::string& wanted, auto&, const auto&, Decides decides) {
    ModelConfig after = before;
    visit_fields(after, [&](const char* name, auto& value, const auto& allowed, Decides) {
      if (name == wanted) Change::of(value, allowed);
    });
    const std::string difference = first_difference(before, after);
    if (decides == Decides::model)
      EXPECT_TRUE(difference.starts_with(wanted + " is ")) << wanted << ": " << difference;
    else
      EXPECT_EQ(difference, "") << wanted;
    if (decides != Decides::model) not_compared.insert(wanted);
  });
  EXPECT_EQ(not_compared, (std::set<std::string>{"labels", "dropout_embedding", "dropout_attention",
                                                 "dropout_residual", "dropout_head", "init_std",
                                                 "eos_id", "bos_id", "source"}));
}

TEST(ModelConfig, WhatAnotherFieldSwitchesOffIsNotCompared) {
  const auto differs = [](ModelConfig c, auto change) {
    ModelConfig other = c;
    change(other);
    return first_difference(c, other);
  };
  const auto set_activation = [](ModelConfig& c) { c.head_activation = Activation::relu; };
  const auto set_labels = [](ModelConfig& c) {
    c.n_labels = 5, c.label_bias = true, c.problem = Problem::multi_label;
  };
  const auto set_pad = [](ModelConfig& c) { c.pad_id = 7; };
  const auto set_mask = [](ModelConfig& c) { c.mask_id = 7; };
  ModelConfig c;
  for (const auto& difference : {differs(c, set_activation), differs(c, set_labels),
                                 differs(c, set_pad), differs(c, set_mask)})
    EXPECT_EQ(difference, "");
  c.pad_keeps_position = true;
  c.pad_id = 1;
  EXPECT_EQ(differs(c, set_pad), "pad_id is 1, not 7");
  c.head_transform = true;
  EXPECT_EQ(differs(c, set_activation), "head_activation is gelu, not relu");
  // A checkpoint of before may not say that there is no pad token.
  ModelConfig classifies, names_pad;
  classifies.head = names_pad.head = HeadKind::classify;
  names_pad.pad_id = 0;
  EXPECT_EQ(first_difference(classifies, names_pad), "");
  classifies.pad_id = 5;
  EXPECT_EQ(first_difference(classifies, names_pad), "pad_id is 5, not 0");
}

TEST(ModelConfig, ADifferenceIsToldInWords) {
  ModelConfig a, b;
  b.norm = NormKind::rms;
  EXPECT_EQ(first_difference(a, b), "norm is layer, not rms");
  b = a;
  b.rope.short_factors = {1, 1.5};
  EXPECT_EQ(first_difference(a, b), "rope.short_factors is [], not [1.0,1.5]");
  b = a;
  b.norm_eps = 1e-6f;
  EXPECT_EQ(first_difference(a, b), "norm_eps is 1e-05, not 1e-06");
  b = a;
  b.tied_head = false;
  EXPECT_EQ(first_difference(a, b), "tied_head is true, not false");
  EXPECT_EQ(first_difference(a, a), "");
}

std::string refusal(const ModelConfig& c) {
  try {
    validate(c, "here");
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

// Beyond each end of what the list allows.
struct Beyond {
  template <class T>
  requires std::is_integral_v<T>
  static std::vector<T> of(const T&, const Integers& allowed) {
    return {static_cast<T>(allowed.min - 1), static_cast<T>(allowed.max + 1)};
  }
  template <class T>
  requires std::is_floating_point_v<T>
  static std::vector<T> of(const T&, const Reals& allowed) {
    const T low = static_cast<T>(allowed.min), high = static_cast<T>(allowed.max);
    return {allowed.min_open ? low : std::nextafter(low, static_cast<T>(-1e30)),
            allowed.max_open ? high : std::nextafter(high, static_cast<T>(1e30)),
            std::numeric_limits<T>::quiet_NaN()};
  }
  template <class T, class A>
  requires(!std::is_same_v<A, Anything>) static std::vector<std::vector<T>> of(
      const std::vector<T>&, const A& allowed) {
    std::vector<std::vector<T>> lists;
    for (const T& entry : of(T{}, allowed)) lists.push_back({entry});
    return lists;
  }
  template <class T>
  static std::vector<T> of(const T&, const Anything&) {
    return {};
  }
  template <class E, std::size_t n>
  static std::vector<E> of(const E&, const Word<E> (&)[n]) {
    return {};
  }
};

TEST(ModelConfig, EveryRangeIsChecked) {
  ASSERT_EQ(refusal(classifier()), "");
  int refused = 0;
  ModelConfig list;
  visit_fields(list, [&](const std::string& wanted, auto& field, const auto& limits, Decides) {
    for (const auto& value : Beyond::of(field, limits)) {
      ModelConfig c = classifier();
      visit_fields(c, [&](const char* name, auto& to, const auto&, Decides) {
        if constexpr (std::is_same_v<decltype(&to), decltype(&field)>)
          if (name == wanted) to = value;
      });
      const std::string why = refusal(c);
      EXPECT_TRUE(why.starts_with("here: " + wanted + " is ")) << wanted << ": " << why;
      EXPECT_NE(why.find("; allowed: "), std::string::npos) << why;
      ++refused;
    }
  });
  EXPECT_GE(refused, 90);
  ModelConfig c = classifier();
  c.kv_heads = 0;
  EXPECT_EQ(refusal(c), "here: kv_heads is 0; allowed: 1 to 16384");
}

TEST(ModelConfig, FieldsThatDoNotFitEachOther) {
  const std::pair<void (*)(ModelConfig&), const char*> kCases[] = {
      {[](ModelConfig& c) { c.kv_heads = 24; }, "12 heads are not a multiple of 24 KV heads"},
      {[](ModelConfig& c) { c.kv_heads = 5; }, "12 heads are not a multiple of 5 KV heads"},
      {[](ModelConfig& c) {
         c.windowed = {1, 0};
       },
       "layer_types has 2 entries for 12 layers"},
      {[](ModelConfig& c) { c.mask_id = -1; }, "mask_token_id is missing"},
      {[](ModelConfig& c) { c.pad_keeps_position = true, c.pad_id = -1; },
       "pad_token_id is missing"},
      {[](ModelConfig& c) { c.positions = Positions::rope, c.rope.dims = 66; },
       "66 of the 64 dims of a head turn"},
      {[](ModelConfig& c) { c.positions = Positions::rope, c.rope.dims = 7; },
       "7 of the 64 dims of a head turn"},
      {[](ModelConfig& c) { c.positions = Positions::rope, c.rope.scaling = RopeScaling::yarn; },
       "original_max_position_embeddings is 0; allowed: 1 to"},
      {[](ModelConfig& c) {
         c.positions = Positions::rope, c.rope.scaling = RopeScaling::llama3,
         c.rope.original_context = 8, c.rope.low_freq_factor = 4;
       },
       "low_freq_factor is 4 and high_freq_factor 4"},
      {[](ModelConfig& c) {
         c.positions = Positions::rope, c.rope.scaling = RopeScaling::factors,
         c.rope.short_factors = {1, 2};
       },
       "a list of rope factors has 2 entries; allowed: 32"}};
  for (const auto& [change, why] : kCases) {
    ModelConfig c = classifier();
    change(c);
    const std::string said = refusal(c);
    EXPECT_NE(said.find(why), std::string::npos) << said << " (expected: " << why << ")";
  }
}

TEST(ModelConfig, ShowsTheFieldsThatAreAskedFor) {
  ModelConfig c = classifier();
  EXPECT_EQ(
      json_text(shown_fields(c, {"layers", "family", "norm_eps", "head", "tied_head", "labels"})),
      R"({"layers":12,"family":"gpt2","norm_eps":1e-05,"head":"classify","tied_head":true,)"
      R"("labels":[]})");
  EXPECT_THROW(shown_fields(c, {"layer"}), Error);
}

}  // namespace
}  // namespace weft
