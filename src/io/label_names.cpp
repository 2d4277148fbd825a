#include "io/label_names.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "core/check.h"

namespace weft {

std::string read_problem_type(const JsonReader& json) {
  const std::string problem = json.string("problem_type", "");
  CHECK_USER(problem.empty() || std::find(std::begin(kProblemTypes), std::end(kProblemTypes),
                                          problem) != std::end(kProblemTypes),
             "{}: problem_type is {}; allowed: {}", json.origin(), brief(Json(problem)),
             fmt::join(kProblemTypes, ", "));
  return problem;
}

std::vector<std::string> read_label_names(const JsonReader& json) {
  constexpr std::size_t kMost = 1 << 20;
  const Json all = json.json().value("id2label", Json());
  if (!all.is_object() || all.empty()) return {};
  CHECK_USER(all.size() <= kMost, "{}: id2label names {} labels; allowed: 1 to {}", json.origin(),
             all.size(), kMost);
  std::vector<std::string> names(all.size());
  for (const auto& [id, name] : all.items()) {
    const std::size_t n =
        !id.empty() && id.size() < 9 && id.find_first_not_of("0123456789") == std::string::npos
            ? std::stoul(id)
            : kMost;
    CHECK_USER(n < names.size() && id == std::to_string(n) && name.is_string(),
               "{}: id2label maps '{}' to {}; allowed: ids 0 to {}, each to a string",
               json.origin(), id, brief(name), names.size() - 1);
    names[n] = name.get<std::string>();
  }
  return names;
}

OrderedJson label_names_json(const std::vector<std::string>& names) {
  OrderedJson json = OrderedJson::object();
  for (std::size_t i = 0; i < names.size(); ++i) json[std::to_string(i)] = names[i];
  return json;
}

}  // namespace weft
