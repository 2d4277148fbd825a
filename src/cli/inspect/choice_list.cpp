#include "cli/inspect/choice_list.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <string_view>

#include "core/check.h"
#include "core/utf8.h"

namespace weft {
namespace {

struct Ends {
  std::int64_t first = 0, last = -1;
};

// "3" or "3-5".
bool read_ends(std::string_view part, Ends& ends) {
  const char *at = part.data(), *end = at + part.size();
  const auto [behind, error] = std::from_chars(at, end, ends.first);
  if (error != std::errc() || *at == '-') return false;
  ends.last = ends.first;
  if (behind == end) return true;
  if (*behind != '-' || behind + 1 == end || behind[1] == '-') return false;
  const auto [rest, second_error] = std::from_chars(behind + 1, end, ends.last);
  return second_error == std::errc() && rest == end;
}

}  // namespace

std::vector<std::int64_t> parse_choice(const std::string& flag, const std::string& text,
                                       std::int64_t n) {
  std::vector<std::int64_t> all;
  if (text.empty()) {
    all.resize(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), std::int64_t{0});
    return all;
  }
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view part = std::string_view(text).substr(begin, end - begin);
    Ends ends;
    CHECK_USER(read_ends(part, ends),
               "{} is '{}': '{}' is neither a number nor a range; allowed: a list like 0,3-5", flag,
               printable(text), printable(part));
    CHECK_USER(ends.first <= ends.last, "{} is '{}': {} goes backwards; allowed: a list like 0,3-5",
               flag, printable(text), part);
    CHECK_USER(ends.last < n, "{} is '{}', but the model has {}; allowed: 0 to {}", flag,
               printable(text), n, n - 1);
    for (std::int64_t i = ends.first; i <= ends.last; ++i) all.push_back(i);
    begin = end + 1;
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

}  // namespace weft
