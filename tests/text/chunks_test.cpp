// Texts in overlapping pieces: where they are cut, and what holds of any text.
#include "text/characters/chunks.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>

#include "text/characters/unicode.h"

namespace weft {
namespace {

using Pieces = std::vector<std::string>;

Pieces cut(std::string_view text, std::int64_t length, std::int64_t overlap = 0) {
  Pieces pieces;
  for (const std::string_view piece : chunks(text, {length, overlap})) pieces.emplace_back(piece);
  return pieces;
}

std::int64_t characters(std::string_view text) {
  std::int64_t n = 0;
  for (std::size_t i = 0; i < text.size(); i += character_at(text, i).bytes) ++n;
  return n;
}

TEST(Chunks, AShortTextStaysAsItIs) {
  EXPECT_EQ(cut("", 10), Pieces{""});
  EXPECT_EQ(cut("  \n ", 3), Pieces{"  \n "});
  EXPECT_EQ(cut(" ten chars", 10), Pieces{" ten chars"});
  EXPECT_EQ(cut("ééééé", 5), Pieces{"ééééé"});
}

TEST(Chunks, ParagraphThenLineThenSentenceThenWord) {
  EXPECT_EQ(cut("One two.\n \nThree. Four\nfive six", 25),
            (Pieces{"One two.\n \nThree. Four", "five six"}));
  EXPECT_EQ(cut("One two, three.\n \nFour\nfive six", 25),
            (Pieces{"One two, three.", "Four\nfive six"}));
  EXPECT_EQ(cut("One two three\nfour. five six seven", 25),
            (Pieces{"One two three", "four. five six seven"}));
  EXPECT_EQ(cut("One two (three.) Four five six seven", 25),
            (Pieces{"One two (three.)", "Four five six seven"}));
  EXPECT_EQ(cut("Pi is 3.1415 or 3.1416 about", 18), (Pieces{"Pi is 3.1415 or", "3.1416 about"}));
  // A window that ends with a word needs no room for the space behind it.
  EXPECT_EQ(cut("abcd efgh ijkl", 9), (Pieces{"abcd efgh", "ijkl"}));
  // In the first half of a window nothing is cut.
  EXPECT_EQ(cut("ab\n\nabcdefghijklmno", 10), (Pieces{"ab\n\nabcdef", "ghijklmno"}));
}

TEST(Chunks, BetweenCharactersWhereThereIsNoSpace) {
  EXPECT_EQ(cut("😀😁😂🤣😃", 2), (Pieces{"😀😁", "😂🤣", "😃"}));
  EXPECT_EQ(cut("漢字漢字漢字。漢字", 8), (Pieces{"漢字漢字漢字。", "漢字"}));
  EXPECT_EQ(cut("abcdefgh", 4, 2), (Pieces{"abcd", "cdef", "efgh"}));
}

TEST(Chunks, AnOverlapBeginsWithAWord) {
  EXPECT_EQ(cut("the quick brown fox jumps over it", 20, 10),
            (Pieces{"the quick brown fox", "brown fox jumps over", "jumps over it"}));
  EXPECT_EQ(cut("the quick brown fox jumps", 20, 3), (Pieces{"the quick brown fox", "fox jumps"}));
  EXPECT_EQ(cut("a bcdefghijklmnopqrstu vw", 21, 2), (Pieces{"a bcdefghijklmnopqrst", "stu vw"}));
}

TEST(Chunks, WhiteSpaceOfAnyLengthIsNoPiece) {
  const std::string spaces(5000, ' ');
  EXPECT_EQ(cut("one two" + spaces + "three four" + spaces, 10, 4),
            (Pieces{"one two", "three four"}));
  EXPECT_EQ(cut(spaces + "one" + spaces + "two", 4, 3), (Pieces{"one", "two"}));
}

TEST(Chunks, WhatHoldsOfAnyText) {
  std::mt19937 random(7);
  const std::vector<std::string> alphabet = {"a", "b", "é",  "漢",   "😀",    ".",      "。",  "\"",
                                             " ", " ", "\n", "\n\n", "  \n", "\u00A0", "word"};
  for (int test = 0; test < 4000; ++test) {
    std::string text;
    const auto n = random() % 120;
    const auto most = 1 + random() % alphabet.size();
    for (std::size_t i = 0; i < n; ++i) text += alphabet[random() % most];
    const auto length = static_cast<std::int64_t>(1 + random() % 30);
    const auto overlap = static_cast<std::int64_t>(random()) % length;
    const auto pieces = chunks(text, {length, overlap});
    const std::string what = fmt::format("'{}' by {}, {}", text, length, overlap);
    ASSERT_FALSE(pieces.empty()) << what;
    const auto begin = [&](std::size_t i) { return pieces[i].data() - text.data(); };
    const auto end = [&](std::size_t i) {
      return begin(i) + static_cast<std::ptrdiff_t>(pieces[i].size());
    };
    const auto between = [&](std::ptrdiff_t from, std::ptrdiff_t to) {
      return std::string_view(text).substr(static_cast<std::size_t>(from),
                                           static_cast<std::size_t>(to - from));
    };
    const auto blank = [](std::string_view s) { return stripped(s, true, true).empty(); };
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      ASSERT_TRUE(is_utf8(pieces[i])) << what;
      if (pieces.size() == 1 && characters(text) <= length) continue;
      if (pieces.size() == 1 && blank(text)) continue;
      ASSERT_LE(characters(pieces[i]), length) << what;
      ASSERT_EQ(stripped(pieces[i], true, true), pieces[i]) << what;
      ASSERT_FALSE(pieces[i].empty()) << what;
      if (i == 0) continue;
      ASSERT_GT(begin(i), begin(i - 1)) << what;
      ASSERT_GT(end(i), end(i - 1)) << what;
      if (begin(i) >= end(i - 1))
        ASSERT_TRUE(blank(between(end(i - 1), begin(i)))) << what;
      else
        ASSERT_LE(characters(between(begin(i), end(i - 1))), overlap) << what;
    }
    ASSERT_TRUE(blank(between(0, begin(0)))) << what;
    ASSERT_TRUE(blank(between(end(pieces.size() - 1), static_cast<std::ptrdiff_t>(text.size()))))
        << what;
  }
}

// What took time with the square of a text's length would take hours here.
TEST(Chunks, LongTextsTakeTimeByTheirLength) {
  const auto begun = std::chrono::steady_clock::now();
  for (const std::string& unit : {std::string("a"), std::string(" "), std::string("\n"),
                                  std::string("ab cd. "), std::string("é")}) {
    std::string text = "x";
    while (text.size() < 8'000'000) text += unit;
    text += "y";
    const auto pieces = chunks(text, {1000, 150});
    EXPECT_LE(pieces.size(), text.size() / 300) << unit;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(60));
}

}  // namespace
}  // namespace weft
