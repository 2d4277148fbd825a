// Speed-up and efficiency over ranks; repeats.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "report/amounts.h"
#include "report/scaling.h"
#include "report/sections.h"

namespace weft::report {
namespace {

std::string with_sd(const MeanSd& value, int digits) {
  const std::string mean = significant(value.mean, digits);
  if (!known(value.sd)) return mean;
  return mean + " ± " + significant(value.sd, 2);
}

std::string decimals_with_sd(const MeanSd& value) {
  const std::string mean = fmt::format("{:.2f}", value.mean);
  return known(value.sd) ? mean + fmt::format(" ± {:.2f}", value.sd) : mean;
}

std::string percent_with_sd(const MeanSd& value) {
  const std::string mean = fmt::format("{:.1f}", 100 * value.mean);
  return known(value.sd) ? mean + fmt::format(" ± {:.1f}", 100 * value.sd) : mean;
}

// Mean over the repeats.
template <class Value>
double mean_of(const Configuration& c, const Value& value) {
  std::vector<double> values;
  for (const Run* run : c.repeats)
    if (const double v = value(*run); known(v)) values.push_back(v);
  return mean_sd(values).mean;
}

double share_mean(const Configuration& c, TimeShare which) {
  return mean_of(c, [&](const Run& run) {
    StepShares shares{};
    return run.shares(shares) ? shares[static_cast<std::size_t>(which)] : kUnknown;
  });
}

// Which axes of the grid are more than 1: points of one such kind are joined by a line.
std::string axes_of(const Run& r) {
  std::string axes;
  for (const auto& [name, n] : {std::pair{"tp", r.tp}, {"pp", r.pp}, {"dp", r.dp}})
    if (n > 1) axes += (axes.empty() ? "" : " × ") + std::string(name);
  return axes;
}

std::vector<Series> series_of(const ScalingStudy& study, const MeanSd ScalingPoint::*value) {
  std::vector<std::string> order;
  for (const ScalingPoint& p : study.points) {
    const std::string axes = axes_of(p.configuration->run());
    if (!axes.empty() && std::find(order.begin(), order.end(), axes) == order.end())
      order.push_back(axes);
  }
  std::vector<Series> all;
  for (const std::string& axes : order) {
    Series s{axes, {}, static_cast<int>(all.size()), true, true, true, {}};
    for (const ScalingPoint& p : study.points) {
      const std::string own = axes_of(p.configuration->run());
      if (!own.empty() && own != axes) continue;
      s.points.emplace_back(static_cast<double>(p.configuration->run().ranks), (p.*value).mean);
      s.deviations.push_back((p.*value).sd);
    }
    all.push_back(std::move(s));
  }
  return all;
}

void add_charts(Section& section, const ScalingStudy& study, ChartMaker& charts) {
  const auto first = static_cast<double>(study.base().ranks),
             last = static_cast<double>(study.points.back().configuration->run().ranks);
  LineChart speed{
      .title = study.weak ? "Speed-up at constant work a rank" : "Speed-up at constant work",
      .x = {},
      .y = {},
      .series = series_of(study, &ScalingPoint::speed_up),
      .ideal = {{first, 1}, {last, last / first}}};
  speed.x.powers_of_two = speed.y.powers_of_two = true;
  speed.x.title = "ranks";
  speed.y.title = fmt::format("times the speed of {} rank{}", study.base().ranks,
                              study.base().ranks == 1 ? "" : "s");
  LineChart efficiency{.title = "Efficiency",
                       .x = {},
                       .y = {},
                       .series = series_of(study, &ScalingPoint::efficiency),
                       .ideal = {{first, 1}, {last, 1}}};
  efficiency.x.powers_of_two = true;
  efficiency.x.title = "ranks";
  efficiency.y.percent = efficiency.y.from_zero = true;
  efficiency.y.title = "of ideal";
  charts.add(section, speed);
  charts.add(section, efficiency);
}

Table table_of(const ScalingStudy& study) {
  Table table{{{"grid", false},
               {"ranks"},
               {"nodes", true, 6},
               {study.base().trains() ? "batch" : "items", true, 1},
               {"runs", true, 2},
               {"tokens/s"},
               {"a rank", true, 3},
               {"speed-up"},
               {"efficiency %"},
               {"MFU", true, 5},
               {"of peak", true, 4},
               {"comm", true, 4},
               {"bubble", true, 5}},
              {}};
  for (const ScalingPoint& p : study.points) {
    const Configuration& c = *p.configuration;
    const Run& r = c.run();
    table.rows.push_back(
        {{c.grid(), grouped(or_unknown(r.ranks)), grouped(or_unknown(r.nodes)), grouped(work_of(r)),
          std::to_string(c.repeats.size()), with_sd(c.tokens_per_s, 4),
          significant(c.tokens_per_s.mean / static_cast<double>(r.ranks), 4),
          decimals_with_sd(p.speed_up), percent_with_sd(p.efficiency),
          percent(mean_of(c, [](const Run& run) { return run.mfu(); })),
          percent(mean_of(c, [](const Run& run) { return run.peak_share(); })),
          percent(share_mean(c, TimeShare::comm)), percent(share_mean(c, TimeShare::bubble))}});
  }
  return table;
}

std::string about(const ScalingStudy& study) {
  const Run& base = study.base();
  const char* unit = base.trains() ? "sequences a step" : "items";
  const double work = work_of(base), each = work / static_cast<double>(base.ranks);
  const std::string kept =
      study.weak
          ? fmt::format("{} {} for each rank",
                        each == std::floor(each) ? grouped(each) : significant(each, 3), unit)
          : fmt::format("{} {}", grouped(work), unit);
  return fmt::format(
      "{}, {}{}: {}. Speed-up: tokens/s over the mean of {} rank{}; efficiency: speed-up over the "
      "ratio of ranks. ± is the standard deviation over runs of one configuration.",
      base.model.empty() ? "One model" : base.model, base.what,
      base.dtype.empty() ? "" : ", " + base.dtype, kept, base.ranks, base.ranks == 1 ? "" : "s");
}

}  // namespace

std::vector<Section> scaling_sections(const RunList& runs, ChartMaker& charts) {
  const std::vector<Configuration> all = configurations(runs);
  std::vector<Section> sections;
  std::vector<const Configuration*> placed;
  for (const ScalingStudy& study : scaling_studies(all)) {
    Section section{.title = study.weak ? "Weak scaling" : "Strong scaling", .blocks = {}};
    section.paragraph(about(study));
    add_charts(section, study, charts);
    section.add(table_of(study));
    sections.push_back(std::move(section));
    for (const ScalingPoint& p : study.points) placed.push_back(p.configuration);
  }
  Section repeats{.title = "Repeats", .blocks = {}};
  Table table{{{"first run", false}, {"grid", false}, {"runs"}, {"tokens/s"}, {"sd, of mean"}}, {}};
  for (const Configuration& c : all)
    if (c.repeats.size() > 1 && std::find(placed.begin(), placed.end(), &c) == placed.end())
      table.rows.push_back(
          {{c.run().name, c.grid(), std::to_string(c.repeats.size()), with_sd(c.tokens_per_s, 4),
            percent(c.tokens_per_s.sd / c.tokens_per_s.mean)}});
  repeats.add(std::move(table));
  sections.push_back(std::move(repeats));
  return sections;
}

}  // namespace weft::report
