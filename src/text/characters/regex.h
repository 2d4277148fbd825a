// Regular expressions as tokenizer.json writes them (Oniguruma's syntax), run by PCRE2. Constructs
// whose meaning differs between the two are rewritten (\s, \w, \b, \h, scripts) or refused by name
// (set operations).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace weft {

class Regex {
 public:
  // UserError naming `origin` where the pattern cannot be read.
  Regex(std::string pattern, const std::string& origin);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  const std::string& pattern() const { return pattern_; }

 private:
  friend class RegexScan;
  struct Impl;
  std::string pattern_;
  std::unique_ptr<Impl> impl_;
};

std::string escape_regex(std::string_view literal);  // a pattern that matches just this

// One run of a regex over texts; for one thread. Bytes that are not UTF-8 match nothing. A pattern
// that takes too long or too much memory, by the size of the text, is a UserError.
class RegexScan {
 public:
  explicit RegexScan(const Regex& regex);
  ~RegexScan();
  RegexScan(const RegexScan&) = delete;
  RegexScan& operator=(const RegexScan&) = delete;
  // The next match from `at` on, as the reference's find_iter takes them (an empty match right
  // behind the last one is no match); false: none.
  void begin(std::string_view text);
  bool next(std::size_t& match_begin, std::size_t& match_end);

  struct State;

 private:
  int match(std::uint32_t options);
  const Regex& regex_;
  std::unique_ptr<State> state_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t last_end_ = 0;
  bool matched_ = false;
};

// Calls for each match [begin, end) of a text, from left to right.
void each_match(const Regex& regex, std::string_view text,
                const std::function<void(std::size_t begin, std::size_t end)>& found);

}  // namespace weft
