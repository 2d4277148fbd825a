#include "report/compare.h"

#include <map>
#include <set>

namespace weft::report {
namespace {

// What differs between any two runs and tells nothing of either.
const std::set<std::string>& passed_over() {
  static const std::set<std::string> names = {"event",   "log_version",    "time",      "command",
                                              "job",     "bytes_per_rank", "step",      "resumed",
                                              "options", "peaks",          "parameters"};
  return names;
}

std::string shown(const OrderedJson& value) {
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

struct Facts {
  std::vector<std::string> order;
  std::map<std::string, std::string> values;
  void add(const std::string& name, const OrderedJson& value) {
    if (values.emplace(name, shown(value)).second) order.push_back(name);
  }
};

// The options, then what the start line says besides them.
Facts facts_of(const Run& run) {
  Facts facts;
  const OrderedJson& line = run.start;
  const auto options = line.find("options");
  if (options != line.end() && options->is_object())
    for (const auto& [name, value] : options->items()) facts.add(name, value);
  for (const auto& [name, value] : line.items()) {
    if (passed_over().contains(name)) continue;
    if (!value.is_object()) {
      facts.add(name, value);
      continue;
    }
    // "model" is an option too: the object's fields stand for themselves
    for (const auto& [inner, inner_value] : value.items()) {
      const bool bare = name == "grid" || name == "run" || name == "model";
      facts.add(bare ? inner : name + "." + inner, inner_value);
    }
  }
  return facts;
}

std::vector<Difference> differences(const Run& first, const Run& second) {
  const Facts a = facts_of(first), b = facts_of(second);
  std::vector<std::string> names = a.order;
  for (const std::string& name : b.order)
    if (!a.values.contains(name)) names.push_back(name);
  std::vector<Difference> found;
  for (const std::string& name : names) {
    const auto value = [&](const Facts& facts) {
      const auto at = facts.values.find(name);
      return at == facts.values.end() ? std::string() : at->second;
    };
    const std::string x = value(a), y = value(b);
    if (x != y) found.push_back({name, x, y});
  }
  return found;
}

}  // namespace

Comparison compare_runs(const Run& first, const Run& second) {
  Comparison c;
  c.speed_ratio = second.tokens_per_s() / first.tokens_per_s();
  if (!std::isfinite(c.speed_ratio)) c.speed_ratio = kUnknown;
  auto other = second.steps.begin();
  for (const RunStep& step : first.steps) {
    while (other != second.steps.end() && other->step < step.step) ++other;
    if (other == second.steps.end()) break;
    if (other->step != step.step || !known(step.loss) || !known(other->loss)) continue;
    const double difference = other->loss - step.loss;
    ++c.common;
    c.equal += other->loss == step.loss;
    if (difference != 0 && c.first_unequal < 0) c.first_unequal = step.step;
    if (!(std::abs(difference) <= c.largest)) {
      c.largest = std::abs(difference);
      c.largest_at = step.step;
    }
    c.loss_differences.emplace_back(step.step, difference);
  }
  c.options = differences(first, second);
  return c;
}

}  // namespace weft::report
