// A regular expression of a tokenizer.json, for finding its matches one after another.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace weft {

class SearchPattern {
 public:
  // UserErrors name `origin`: not a regular expression, or one that needs too many steps for a
  // text.
  SearchPattern(const std::string& regex, std::string origin);
  ~SearchPattern();
  SearchPattern(SearchPattern&&) noexcept;
  SearchPattern& operator=(SearchPattern&&) noexcept;
  // Calls for each match [begin, end), from left to right; none right behind another is empty.
  // Thread-safe. Bytes that are no UTF-8 match nothing.
  void each(std::string_view text,
            const std::function<void(std::size_t begin, std::size_t end)>& found) const;

 private:
  struct Compiled;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace weft
