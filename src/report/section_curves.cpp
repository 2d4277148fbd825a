// Loss and speed over steps and time.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "report/amounts.h"
#include "report/scaling.h"
#include "report/sections.h"

namespace weft::report {
namespace {

constexpr std::size_t kCurves = 8;  // of a chart

Points loss_points(const Run& run) {
  Points points;
  for (const RunStep& s : run.steps) points.emplace_back(static_cast<double>(s.step), s.loss);
  return points;
}

Points validation_points(const Run& run) {
  Points points;
  for (const RunEval& e : run.evals) points.emplace_back(static_cast<double>(e.step), e.loss);
  return points;
}

// Over seconds; steps of another start are not joined.
Points speed_points(const Run& run, double unit_s) {
  Points points;
  int start = -1;
  TextProgress before{.at_s = 0, .tokens = 0, .start = 1};
  for (const TextProgress& p : run.progress) {  // the mean since the line before
    if (p.start != before.start) before = {p.at_s, p.tokens, p.start};
    if (p.at_s > before.at_s && p.tokens >= before.tokens)
      points.emplace_back(p.at_s / unit_s, (p.tokens - before.tokens) / (p.at_s - before.at_s));
    before = p;
  }
  for (const RunStep& s : run.steps) {
    if (!known(s.at_s)) continue;
    if (start >= 0 && s.start != start) points.emplace_back(s.at_s / unit_s, kUnknown);
    start = s.start;
    points.emplace_back(s.at_s / unit_s, s.tokens_per_s);
  }
  return points;
}

struct TimeUnit {
  double seconds;
  const char* name;
};

TimeUnit unit_of(double seconds) {
  if (seconds < 180) return {1, "s"};
  if (seconds < 3 * 3600) return {60, "min"};
  return {3600, "h"};
}

std::string part_of(std::size_t at, std::size_t all) {
  return all <= kCurves
             ? ""
             : fmt::format(", runs {} to {} of {}", at + 1, std::min(all, at + kCurves), all);
}

void add_curves(Section& section, const std::vector<const Run*>& runs, std::size_t at,
                ChartMaker& charts) {
  LineChart loss{
      .title = "Loss" + part_of(at, runs.size()), .x = {}, .y = {}, .series = {}, .ideal = {}};
  loss.x.title = "step";
  loss.x.whole = true;
  loss.y.title = "loss";
  LineChart speed{.title = "Tokens a second" + part_of(at, runs.size()),
                  .x = {},
                  .y = {},
                  .series = {},
                  .ideal = {}};
  double longest = 0;
  for (std::size_t i = at; i < std::min(runs.size(), at + kCurves); ++i)
    if (known(runs[i]->elapsed_s)) longest = std::max(longest, runs[i]->elapsed_s);
  const TimeUnit unit = unit_of(longest);
  speed.x.title = fmt::format("time that the run's processes have run, {}", unit.name);
  speed.x.from_zero = speed.y.from_zero = true;
  speed.y.title = "tokens/s";
  bool validated = false;
  for (std::size_t i = at; i < std::min(runs.size(), at + kCurves); ++i) {
    const int style = static_cast<int>(i - at);
    const Points losses = loss_points(*runs[i]);
    if (!losses.empty())
      loss.series.push_back({runs[i]->name, losses, style, true, false, true, {}});
    if (const Points points = validation_points(*runs[i]); !points.empty()) {
      loss.series.push_back({"validation", points, style, false, true, false, {}});
      validated = true;
    }
    speed.series.push_back(
        {runs[i]->name, speed_points(*runs[i], unit.seconds), style, true, false, true, {}});
  }
  if (validated) loss.title += "; single marks: validation";
  charts.add(section, loss);
  charts.add(section, speed);
}

}  // namespace

Section curves_section(const RunList& runs, ChartMaker& charts) {
  Section section{.title = "Curves", .blocks = {}, .long_forms_only = true};
  if (!charts.wanted()) return section;
  // Repeats learn the same: of many runs, one of each configuration.
  std::vector<const Run*> shown;
  for (const Run& r : runs)
    if (!r.damaged() && (r.steps.size() > 1 || r.progress.size() > 1)) shown.push_back(&r);
  if (shown.size() > kCurves) {
    std::set<const Run*> repeats;
    for (const Configuration& c : configurations(runs))
      repeats.insert(c.repeats.begin() + 1, c.repeats.end());
    shown.erase(std::remove_if(shown.begin(), shown.end(),
                               [&](const Run* r) { return repeats.contains(r); }),
                shown.end());
    if (!repeats.empty())
      section.paragraph(fmt::format(
          "Of each configuration its first run; {} repeats are not drawn.", repeats.size()));
  }
  for (std::size_t at = 0; at < shown.size(); at += kCurves) add_curves(section, shown, at, charts);
  return section;
}

}  // namespace weft::report
