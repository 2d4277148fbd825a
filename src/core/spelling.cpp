#include "core/spelling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace weft {
namespace {

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

// Lower case, no dashes, underscores or spaces.
std::string bare(const std::string& word) {
  std::string out;
  for (unsigned char c : word)
    if (c != '-' && c != '_' && c != ' ') out += static_cast<char>(std::tolower(c));
  return out;
}

}  // namespace

std::optional<std::string> near_miss(const std::string& word,
                                     const std::vector<std::string>& candidates) {
  if (std::find(candidates.begin(), candidates.end(), word) != candidates.end())
    return std::nullopt;
  const std::string meant = bare(word);
  for (const std::string& candidate : candidates) {
    const std::string name = bare(candidate);
    const std::size_t shorter = std::min(meant.size(), name.size());
    const std::size_t far = shorter >= 9 ? 3 : shorter >= 7 ? 2 : shorter >= 5 ? 1 : 0;
    if (edit_distance(meant, name) <= far) return candidate;
  }
  return std::nullopt;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string* best = nullptr;
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance >= least) continue;
    least = distance;
    best = &candidate;
  }
  return best ? fmt::format(" (did you mean '{}'?)", *best) : "";
}

}  // namespace weft
