#include "cli/unknown_tokens.h"

#include <algorithm>
#include <cctype>

#include "comm/agreement.h"
#include "core/log.h"
#include "core/utf8.h"
#include "io/json.h"

namespace weft {
namespace {

constexpr double kNearlyAll = 0.5;
constexpr std::size_t kExampleBytes = 200;

// The spelling that most vocabularies have, where no role says it.
std::optional<std::int32_t> unknown_id(const Tokenizer& t) {
  if (const auto id = t.unk_id()) return id;
  for (const char* spelling : {"[UNK]", "<unk>"})
    if (const auto id = t.id(spelling)) return id;
  return std::nullopt;
}

std::string with_case(std::string text, int (*change)(int)) {
  for (char& c : text) c = static_cast<char>(change(static_cast<unsigned char>(c)));
  return text;
}

std::string spaced(const std::string& text) {
  std::string out;
  for (std::size_t at = 0, n; at < text.size(); at += n) {
    n = shown_character_at(text, at).bytes;
    out.append(out.empty() ? "" : " ").append(text, at, n);
  }
  return out;
}

}  // namespace

UnknownTokens::UnknownTokens(const Tokenizer& tokenizer)
    : tokenizer_(tokenizer), id_(unknown_id(tokenizer)) {}

void UnknownTokens::add(const std::string& text, std::span<const std::int32_t> ids,
                        const std::string& place) {
  if (!id_) return;
  const std::int64_t unknown = std::count(ids.begin(), ids.end(), *id_);
  n_ += static_cast<std::int64_t>(ids.size());
  n_unknown_ += unknown;
  if (!example_.empty() || 2 * unknown < static_cast<std::int64_t>(ids.size()) || unknown == 0)
    return;
  std::size_t end = 0;  // whole characters of its beginning
  while (end < text.size() && end < kExampleBytes) end += shown_character_at(text, end).bytes;
  example_ = text.substr(0, end);
  place_ = place;
}

std::string UnknownTokens::token() const { return id_ ? printable(tokenizer_.token(*id_)) : ""; }

double UnknownTokens::share_of(const std::string& text) const {
  const std::vector<std::int32_t> ids = tokenizer_.ids(text);
  if (ids.empty()) return 1;
  return static_cast<double>(std::count(ids.begin(), ids.end(), *id_)) /
         static_cast<double>(ids.size());
}

// What makes the example known, found by trying it.
std::string UnknownTokens::advice() const {
  const std::string upper = with_case(example_, std::toupper);
  const std::pair<const char*, std::string> variants[] = {
      {"in upper case", upper},
      {"in lower case", with_case(example_, std::tolower)},
      {"with spaces between its characters", spaced(example_)},
      {"in upper case, with spaces between its characters", spaced(upper)}};
  for (const auto& [what, text] : variants)
    if (const double share = share_of(text); share < share_of(example_) / 2)
      return fmt::format("{} it would be {:.0f} %", what, 100 * share);
  return "is the tokenizer made for such text? weft tokenizer trains one on it";
}

std::int64_t UnknownTokens::report(Communicator& world, Stream& stream) const {
  const std::int64_t n = world.all_reduce_value(n_, ReduceOp::sum, stream),
                     unknown = world.all_reduce_value(n_unknown_, ReduceOp::sum, stream);
  if (static_cast<double>(unknown) <= kNearlyAll * static_cast<double>(n)) return unknown;
  // The first rank that has an example tells it.
  const std::string mine = example_.empty()
                               ? ""
                               : fmt::format("the first in '{}' ({}); {}",
                                             printable(example_.substr(0, 60)), place_, advice());
  const std::vector<std::string> all = gather_texts(world, mine, stream);
  const auto told = std::find_if(all.begin(), all.end(), [](const auto& s) { return !s.empty(); });
  if (world.rank() == 0)
    log_warning("{:.0f} % of the tokens are {}, the unknown one{}",
                100 * static_cast<double>(unknown) / static_cast<double>(n), token(),
                told == all.end() ? "" : ": " + *told);
  return unknown;
}

}  // namespace weft
