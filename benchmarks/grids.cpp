#include "benchmarks/grids.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "core/check.h"
#include "core/option_words.h"

namespace weft {
namespace {

std::vector<std::int64_t> values_of(const char* flag, const std::vector<std::string>& words,
                                    std::int64_t otherwise, const Integers& allowed) {
  std::vector<std::int64_t> values;
  for (const std::string& word : words)
    for (std::size_t begin = 0; begin <= word.size();) {
      const std::size_t end = std::min(word.find(',', begin), word.size());
      std::int64_t value = 0;
      const auto [last, error] = std::from_chars(word.data() + begin, word.data() + end, value);
      CHECK_USER(error == std::errc() && last == word.data() + end,
                 "{} is '{}'; it must be whole numbers, as in 1,2,4", flag, word);
      check_allowed(flag, value, allowed);
      values.push_back(value);
      begin = end + 1;
    }
  if (values.empty()) values.push_back(otherwise);
  return values;
}

std::string ranks_text(std::int64_t n) { return fmt::format("{} rank{}", n, n == 1 ? "" : "s"); }

}  // namespace

std::string grid_name(const GridShape& s) {
  return fmt::format("tp {} x pp {} x dp {}", s.tp, s.pp, s.dp);
}

bool is_list(const GridWords& words) {
  for (const auto* axis : {&words.tp, &words.pp, &words.dp})
    if (axis->size() > 1 || (axis->size() == 1 && axis->front().find(',') != std::string::npos))
      return true;
  return false;
}

GridPlan plan_grids(const GridWords& words, int n_ranks,
                    const std::function<std::string(const GridShape&)>& objection) {
  const std::vector<std::int64_t> tps = values_of("--tp", words.tp, 1, kGridAxis),
                                  pps = values_of("--pp", words.pp, 1, kGridAxis),
                                  dps = values_of("--dp", words.dp, 0, kGridAxisOrLeft);
  GridPlan plan;
  if (!is_list(words)) {
    plan.grids.push_back(resolve_grid(tps[0], pps[0], dps[0], n_ranks));
    const std::string why = objection(plan.grids[0]);
    if (!why.empty()) throw UserError(why);
    return plan;
  }
  const auto take = [&](std::int64_t tp, std::int64_t pp, std::int64_t dp) -> std::string {
    const std::int64_t replica = tp * pp;
    if (dp == 0 && (n_ranks % replica != 0 || replica > n_ranks))
      return fmt::format("tp {} x pp {} does not divide {}", tp, pp, ranks_text(n_ranks));
    if (dp == 0) dp = n_ranks / replica;
    if (replica * dp > n_ranks)
      return fmt::format("tp {} x pp {} x dp {} needs {}", tp, pp, dp, ranks_text(replica * dp));
    const GridShape shape = {static_cast<int>(tp), static_cast<int>(pp), static_cast<int>(dp)};
    if (std::string why = objection(shape); !why.empty()) return why;
    if (std::ranges::find(plan.grids, shape) == plan.grids.end()) plan.grids.push_back(shape);
    return "";
  };
  for (const std::int64_t tp : tps)
    for (const std::int64_t pp : pps)
      for (const std::int64_t dp : dps)
        if (std::string why = take(tp, pp, dp); !why.empty())
          if (std::ranges::find(plan.left_out, why) == plan.left_out.end())
            plan.left_out.push_back(std::move(why));
  CHECK_USER(!plan.grids.empty(), "none of the grids fits {}: {}", ranks_text(n_ranks),
             fmt::join(plan.left_out, "; "));
  return plan;
}

}  // namespace weft
