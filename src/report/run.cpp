#include "report/run.h"

#include <algorithm>
#include <functional>

namespace weft::report {
namespace {

template <class Value>
double median_of_warm(const std::vector<RunStep>& steps, const Value& value) {
  std::vector<double> values;
  for (const RunStep& step : steps)
    if (step.warm) values.push_back(value(step));
  return median(std::move(values));
}

}  // namespace

double median(std::vector<double> values) {
  values.erase(std::remove_if(values.begin(), values.end(), [](double v) { return !known(v); }),
               values.end());
  if (values.empty()) return kUnknown;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

std::string Run::moved() const {
  std::vector<std::string> all;
  for (const RunPlace& p : places) {
    const std::string& one = p.machine.empty() ? p.cpu : p.machine;
    if (!one.empty() && std::find(all.begin(), all.end(), one) == all.end()) all.push_back(one);
  }
  std::string joined;
  for (std::size_t i = 0; all.size() > 1 && i < all.size(); ++i)
    joined += (i > 0 ? ", then " : "") + all[i];
  return joined;
}

double Run::loss() const { return steps.empty() ? kUnknown : steps.back().loss; }

double Run::tokens_per_s() const {
  return trains() ? median_of_warm(steps, [](const RunStep& s) { return s.tokens_per_s; })
                  : text.tokens_per_s;
}

double Run::tokens_per_s_rank() const {
  return ranks > 0 ? tokens_per_s() / static_cast<double>(ranks) : kUnknown;
}

double Run::mfu() const {
  return median_of_warm(steps, [](const RunStep& s) { return s.mfu; });
}

double Run::peak_share() const {
  return trains() ? median_of_warm(steps, [](const RunStep& s) { return s.peak_share; })
                  : text.peak_share;
}

double Run::step_s() const {
  return median_of_warm(steps, [](const RunStep& s) { return s.step_s; });
}

double Run::comm_bytes() const {
  return trains() ? median_of_warm(steps, [](const RunStep& s) { return s.comm_bytes; })
                  : text.comm_bytes;
}

bool Run::shares(StepShares& out) const {
  out = text.shares;
  if (!trains()) return text.has_shares;
  out = {};
  double seconds = 0;
  for (const RunStep& step : steps) {
    if (!step.warm || !step.has_shares || !(step.step_s > 0)) continue;
    seconds += step.step_s;
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += step.shares[i] * step.step_s;
  }
  for (double& share : out) share /= seconds > 0 ? seconds : 1;
  return seconds > 0;
}

}  // namespace weft::report
