#include "core/log.h"

#include <gtest/gtest.h>

namespace weft {
namespace {

TEST(OneLine, KeepsWhatALineHolds) {
  EXPECT_EQ(one_line("--tp is 3; a\\b \"é\" 日 \xF0\x9F\x90\x88"),
            "--tp is 3; a\\b \"é\" 日 \xF0\x9F\x90\x88");
}

TEST(OneLine, EscapesAndReplaces) {
  EXPECT_EQ(one_line("a\nb\tc\rd\x1B[2J\x7F"), "a\\nb\\tc\\x0dd\\x1b[2J\\x7f");
  EXPECT_EQ(one_line(std::string_view("a\0b", 3)), "a\\x00b");
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(one_line("\xE9t\xC3"), mark + "t" + mark);
  EXPECT_EQ(one_line("\xED\xA0\x80"), mark + mark + mark);             // a surrogate
  EXPECT_EQ(one_line("\xC0\xAF"), mark + mark);                        // overlong
  EXPECT_EQ(one_line("\xF4\x90\x80\x80"), mark + mark + mark + mark);  // beyond U+10FFFF
}

TEST(OneLine, CutsTheMiddleAtCharacters) {
  std::string accents;
  for (int i = 0; i < 5000; ++i) accents += "é";
  const std::string cut = one_line("begin " + accents + " end");
  EXPECT_LT(cut.size(), 2100u);
  EXPECT_TRUE(cut.starts_with("begin é") && cut.ends_with("é end"));
  EXPECT_EQ(one_line(cut, 5000), cut) << "whole characters";
}

}  // namespace
}  // namespace weft
