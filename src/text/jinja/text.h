// Python's string operations on UTF-8: positions count characters, white space and cases are
// Unicode's.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace weft::jinja {

std::size_t find_text(std::string_view text, std::string_view part,
                      std::size_t from);  // in linear time; npos where there is none
std::size_t characters(std::string_view s);
std::string upper(std::string_view s);
std::string lower(std::string_view s);
std::string capitalized(std::string_view s);  // str.capitalize
std::string titled(std::string_view s);       // str.title
std::string titled_words(
    std::string_view s);  // the filter title, which knows fewer beginnings of words
std::string stripped(std::string_view s, const std::optional<std::string>& chars, bool left,
                     bool right);
std::string replaced(std::string_view s, std::string_view from, std::string_view to,
                     std::int64_t count, Budget& budget);
std::vector<std::string> split(std::string_view s, const std::optional<std::string>& separator,
                               std::int64_t at_most, bool from_right);
std::vector<std::string> lines_of(std::string_view s, bool keep_ends);  // str.splitlines
std::optional<std::int64_t> parse_integer(std::string_view s, int base);
std::optional<double> parse_real(std::string_view s);
// The items start, start + step, … of a sequence of n that the slice [start:stop:step] takes.
std::vector<std::size_t> slice_of(std::size_t n, const Value& start, const Value& stop,
                                  const Value& step);
std::string sliced(const std::string& s, const Value& start, const Value& stop, const Value& step,
                   Budget& budget);
// text % arguments, and text.format(arguments) without format specifications.
std::string percent_format(const std::string& format, const Value& arguments, Budget& budget);
std::string brace_format(const std::string& format, const std::vector<Value>& positional,
                         const Pairs& named, Budget& budget);

}  // namespace weft::jinja
