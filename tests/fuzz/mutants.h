// Mutants of a valid file: seeded, so that number i of a file is the same on every run and machine.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "core/rng.h"

namespace weft::test {

class Mutator {
 public:
  Mutator(std::string valid, bool is_text) : valid_(std::move(valid)), is_text_(is_text) {}

  std::string mutant(std::uint64_t number) {
    state_ = mix64(number + 1);
    if (number == 0) return "";
    std::string content = valid_;
    const std::size_t times = 1 + random(3);
    for (std::size_t i = 0; i < times && !content.empty(); ++i) change(content);
    return content;
  }

 private:
  std::size_t random(std::size_t below) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>((state_ >> 33) % std::max<std::size_t>(below, 1));
  }
  char byte() { return static_cast<char>(random(256)); }
  // Half of the time near the beginning, where the headers are.
  std::size_t place(const std::string& content) {
    return random(random(2) ? content.size() : std::min<std::size_t>(content.size(), 4096));
  }

  void change(std::string& content) {
    const std::size_t at = place(content), n = 1 + random(32);
    switch (random(is_text_ ? 9 : 7)) {
      case 0:
        content[at] = static_cast<char>(content[at] ^ (1 << random(8)));
        break;
      case 1:
        content.resize(at);
        break;
      case 2:
        content.erase(at, n);
        break;
      case 3:
        content.insert(at, content.substr(random(content.size()), n));
        break;
      case 4:
        for (std::size_t i = 0; i < n; ++i)
          content.insert(content.begin() + static_cast<std::ptrdiff_t>(at), byte());
        break;
      case 5:
        for (std::size_t i = at; i < std::min(at + n, content.size()); ++i) content[i] = byte();
        break;
      case 6:
        absurd_word(content, at);
        break;
      case 7:
        absurd_number(content, at);
        break;
      case 8:
        content.insert(at, std::string(200'000, random(2) ? '[' : '{'));
        break;
    }
  }

  // A length or offset of 8 bytes that no file holds.
  void absurd_word(std::string& content, std::size_t at) {
    static constexpr std::array<std::uint64_t, 6> kWords = {
        ~0ull, 1ull << 63, 1ull << 40, 0x7FFFFFFFull, 0xFFFFFFFFull, 0};
    const std::uint64_t word = kWords[random(kWords.size())];
    std::memcpy(content.data() + at, &word, std::min<std::size_t>(8, content.size() - at));
  }

  // The next number of a text becomes one that no reader expects.
  void absurd_number(std::string& content, std::size_t at) {
    static constexpr std::array<std::string_view, 14> kNumbers = {"-1",
                                                                  "0",
                                                                  "99999999999999999999",
                                                                  "9223372036854775807",
                                                                  "-9223372036854775808",
                                                                  "1e999",
                                                                  "1e-400",
                                                                  "4294967297",
                                                                  "0.5",
                                                                  "NaN",
                                                                  "null",
                                                                  "\"text\"",
                                                                  "[]",
                                                                  "true"};
    const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
    const auto begin =
        std::find_if(content.begin() + static_cast<std::ptrdiff_t>(at), content.end(), is_digit);
    const auto end = std::find_if_not(begin, content.end(), [&](char c) {
      return is_digit(c) || c == '.' || c == 'e' || c == '-';
    });
    content.replace(begin, end, kNumbers[random(kNumbers.size())]);
  }

  std::string valid_;
  bool is_text_;
  std::uint64_t state_ = 0;
};

}  // namespace weft::test
