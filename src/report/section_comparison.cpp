// Two runs beside each other.
#include <fmt/format.h>

#include "report/amounts.h"
#include "report/compare.h"
#include "report/sections.h"

namespace weft::report {
namespace {

std::string loss_sentence(const Comparison& c) {
  if (c.common == 0) return "They have no step in common.";
  if (c.equal == c.common)
    return fmt::format("The losses of all {} common steps are equal to the bit.",
                       grouped(static_cast<double>(c.common)));
  return fmt::format(
      "Of {} common steps, the losses of {} are equal to the bit; they differ first at step {}, "
      "and "
      "most, by {}, at step {}.",
      grouped(static_cast<double>(c.common)), grouped(static_cast<double>(c.equal)),
      c.first_unequal, significant(c.largest, 3), c.largest_at);
}

}  // namespace

Section comparison_section(const Run& first, const Run& second, ChartMaker& charts) {
  const Comparison c = compare_runs(first, second);
  Section section{.title = "Comparison", .blocks = {}};
  if (known(c.speed_ratio))
    section.paragraph(fmt::format("{} does {} tokens/s, {} does {}: {:.3f} times as many.",
                                  first.name, significant(first.tokens_per_s(), 4), second.name,
                                  significant(second.tokens_per_s(), 4), c.speed_ratio));
  if (first.trains() && second.trains()) section.paragraph(loss_sentence(c));
  if (c.common > 1 && c.equal < c.common) {
    LineChart chart{.title = fmt::format("Loss of {} less that of {}", second.name, first.name),
                    .x = {},
                    .y = {},
                    .series = {},
                    .ideal = {}};
    chart.x.title = "step";
    chart.x.whole = true;
    chart.y.title = "difference of loss";
    Series series{"difference", {}, 0, true, false, true, {}};
    for (const auto& [step, difference] : c.loss_differences)
      series.points.emplace_back(static_cast<double>(step), difference);
    chart.series.push_back(std::move(series));
    charts.add(section, chart);
  }
  Table options{
      {{"differs", false}, {shortened(first.name, 30), false}, {shortened(second.name, 30), false}},
      {}};
  const auto shown = [](const std::string& value) {
    return value.empty() ? kNothing : shortened(value, 34);
  };
  for (const Difference& d : c.options)
    options.rows.push_back({{d.name, shown(d.first), shown(d.second)}});
  if (options.rows.empty())
    section.paragraph("Their options are the same.");
  else
    section.add(std::move(options));
  return section;
}

}  // namespace weft::report
