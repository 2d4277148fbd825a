#include "cli/generation/sweep.h"

#include <algorithm>
#include <filesystem>

#include "cli/option_list.h"
#include "core/check.h"

namespace weft {
namespace {

constexpr std::size_t kMostCombinations = 1000;

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> values;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t comma = std::min(list.find(',', begin), list.size());
    values.push_back(list.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return values;
}

// The flags that a list makes an axis of.
std::vector<std::string> sweepable(const VisitFields& fields) {
  std::vector<std::string> flags = {"--model", "--seed"};
  for (const DescribedOption& o : describe_options(fields))
    if (o.group == "generation" && o.takes == DescribedOption::Takes::number)
      flags.push_back(o.flag);
  return flags;
}

}  // namespace

std::size_t Sweep::n_combinations() const {
  std::size_t n = 1;
  for (const SweepAxis& axis : axes) n *= axis.values.size();
  return n;
}

std::vector<std::string> Sweep::values(std::size_t i) const {
  std::vector<std::string> values(axes.size());
  for (std::size_t a = axes.size(); a-- > 0; i /= axes[a].values.size())
    values[a] = axes[a].values[i % axes[a].values.size()];
  return values;
}

std::vector<std::string> Sweep::args_of(std::size_t i) const {
  std::vector<std::string> all = args;
  const std::vector<std::string> chosen = values(i);
  for (std::size_t a = 0; a < axes.size(); ++a) all[at[a]] = axes[a].flag + "=" + chosen[a];
  return all;
}

Sweep find_sweep(const std::vector<std::string>& args, const VisitFields& fields) {
  const std::vector<std::string> flags = sweepable(fields);
  Sweep sweep;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const std::size_t equals = args[i].find('=');
    const std::string flag = args[i].substr(0, equals);
    const bool apart = equals == std::string::npos;
    const std::string value = !apart                ? args[i].substr(equals + 1)
                              : i + 1 < args.size() ? args[i + 1]
                                                    : "";
    std::error_code error;
    const bool list = std::ranges::find(flags, flag) != flags.end() &&
                      value.find(',') != std::string::npos &&
                      (flag != "--model" || !std::filesystem::exists(value, error));
    if (!list) {
      sweep.args.push_back(args[i]);
      continue;
    }
    SweepAxis axis = {.flag = flag, .values = split(value)};
    for (const std::string& v : axis.values)
      CHECK_USER(!v.empty(), "{} is '{}', a list with an empty value", flag, value);
    const std::size_t place = sweep.args.size();
    sweep.args.push_back(flag + "=" + axis.values[0]);
    const bool first = flag == "--model";
    sweep.axes.insert(first ? sweep.axes.begin() : sweep.axes.end(), std::move(axis));
    sweep.at.insert(first ? sweep.at.begin() : sweep.at.end(), place);
    i += apart;
  }
  for (std::size_t a = 1; a < sweep.axes.size(); ++a)
    for (std::size_t b = 0; b < a; ++b)
      CHECK_USER(sweep.axes[a].flag != sweep.axes[b].flag, "{} is given twice, as lists",
                 sweep.axes[a].flag);
  CHECK_USER(sweep.n_combinations() <= kMostCombinations,
             "the lists make {} combinations; allowed: up to {}", sweep.n_combinations(),
             kMostCombinations);
  return sweep;
}

}  // namespace weft
