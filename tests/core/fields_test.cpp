// The list of fields that makes flags, TOML and JSON: what a value may be is part of its
// description, and what it may not be is never a field's value.
#include "core/fields.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "core/field_values.h"

namespace weft {
namespace {

std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Fields, WholeNumbersStayInTheirRange) {
  const auto check = [](std::int64_t value, Integers allowed) {
    return error_of([&] { check_allowed("--n", value, allowed); });
  };
  EXPECT_EQ(check(1, {1, 8}), "");
  EXPECT_EQ(check(8, {1, 8}), "");
  EXPECT_EQ(check(9, {1, 8}), "--n is 9; allowed: 1 to 8");
  EXPECT_EQ(check(4294967297, {1, 8}), "--n is 4294967297; allowed: 1 to 8");
  EXPECT_EQ(check(-1, {0}), "--n is -1; allowed: 0 or more");
  EXPECT_EQ(check(-1, {0, 9, "all"}), "--n is -1; allowed: 0 (all) to 9");
  EXPECT_EQ(check(INT64_MAX, {0}), "");
  EXPECT_EQ(check(INT64_MIN, kAnyInteger), "");
}

TEST(Fields, NumbersStayInTheirRangeWithOpenEnds) {
  const auto check = [](double value, Reals allowed) {
    return error_of([&] { check_allowed("f.toml: p", value, allowed); });
  };
  EXPECT_EQ(check(0, {0, 1}), "");
  EXPECT_EQ(check(1, {0, 1}), "");
  EXPECT_EQ(check(1.5, {0, 1}), "f.toml: p is 1.5; allowed: 0 to 1");
  EXPECT_EQ(check(0, {0, 1, true}), "f.toml: p is 0; allowed: above 0 to 1");
  EXPECT_EQ(check(1, {0, 1, false, true}), "f.toml: p is 1; allowed: 0 up to, not including, 1");
  EXPECT_NE(check(std::numeric_limits<double>::quiet_NaN(), {0, 1}), "");
  EXPECT_NE(check(std::numeric_limits<double>::infinity(), {0, 1e300}), "");
}

enum class Fruit : std::uint8_t { apple, plum };
constexpr Word<Fruit> kFruits[] = {{"apple", Fruit::apple}, {"plum", Fruit::plum}};

TEST(Fields, WordsAreThoseOfTheTable) {
  const Words allowed(kFruits, {"pear"});
  EXPECT_EQ(error_of([&] { check_allowed("--fruit", std::string("plum"), allowed); }), "");
  EXPECT_EQ(error_of([&] { check_allowed("--fruit", std::string("banana"), allowed); }),
            "--fruit is 'banana'; allowed: apple, plum");
  EXPECT_EQ(error_of([&] { check_allowed("--fruit", std::string("pear"), allowed); }),
            "--fruit is 'pear', which is to come; allowed: apple, plum");
  EXPECT_EQ(value_of(kFruits, "--fruit", "plum"), Fruit::plum);
  EXPECT_EQ(error_of([] { value_of(kFruits, "--fruit", ""); }),
            "--fruit is ''; allowed: apple, plum");
}

// Options that a program sets are held to the same list.
TEST(Fields, AllFieldsAreCheckedByTheirList) {
  struct Options {
    std::int64_t tensor_ranks = 1;
    std::optional<double> share;
    std::string fruit, name = "anything at all";
    void visit(FieldVisitor& v) {
      v.group("options");
      v.field("tensor_ranks", tensor_ranks, Integers{1, 4}, "");
      v.field("share", share, Reals{0, 1}, "");
      v.field("fruit", fruit, kFruits, "");
      v.field("name", name, "");
    }
  };
  const auto check = [](const std::function<void(Options&)>& set) {
    Options o;
    set(o);
    return error_of([&] { check_fields([&](FieldVisitor& v) { o.visit(v); }); });
  };
  EXPECT_EQ(check([](Options&) {}), "");
  EXPECT_EQ(check([](Options& o) { o.tensor_ranks = 5; }), "--tensor-ranks is 5; allowed: 1 to 4");
  EXPECT_EQ(check([](Options& o) { o.share = 2.0; }), "--share is 2; allowed: 0 to 1");
  EXPECT_EQ(check([](Options& o) { o.fruit = "kiwi"; }), "--fruit is 'kiwi'; allowed: apple, plum");
}

// As the run log lists a run's options.
TEST(Fields, ValuesByName) {
  struct Options {
    std::int64_t ranks = 3;
    double lr = 0.5;
    bool fast = true;
    std::string name = "x";
    std::optional<std::int64_t> given = 4, not_given;
    std::vector<std::string> stop = {"a", "b"};
    FlagWord cut = {"", {"right", "left"}}, cut_left = {"left", {"right", "left"}};
    void visit(FieldVisitor& v) {
      v.field("ranks", ranks, kAnyInteger, "");
      v.field("lr", lr, Reals{0, 1}, "");
      v.field("fast", fast, "");
      v.field("name", name, "");
      v.field("given", given, kAnyInteger, "");
      v.field("not_given", not_given, kAnyInteger, "");
      v.field("stop", stop, "");
      v.field("cut", cut, "");
      v.field("cut_left", cut_left, "");
    }
  } o;
  EXPECT_EQ(json_text(field_values([&](FieldVisitor& v) { o.visit(v); })),
            R"({"ranks":3,"lr":0.5,"fast":true,"name":"x","given":4,"stop":["a","b"],)"
            R"("cut":false,"cut_left":"left"})");
}

}  // namespace
}  // namespace weft
