// Where time goes: shares of the peak, of a step, what is sent.
#include <algorithm>

#include "report/amounts.h"
#include "report/sections.h"

namespace weft::report {
namespace {

constexpr std::size_t kMostBars = 40;  // of a chart; the table has all

// What the bars are made of: compute is forward, backward and optimizer.
const std::vector<std::string>& bar_names() {
  static const std::vector<std::string> names = {"compute", "exposed communication", "bubble",
                                                 "data", "other"};
  return names;
}

double share_of(const StepShares& shares, TimeShare which) {
  return shares[static_cast<std::size_t>(which)];
}

std::vector<double> bars_of(const StepShares& s) {
  return {share_of(s, TimeShare::forward) + share_of(s, TimeShare::backward) +
              share_of(s, TimeShare::optimizer),
          share_of(s, TimeShare::comm), share_of(s, TimeShare::bubble),
          share_of(s, TimeShare::data), share_of(s, TimeShare::other)};
}

}  // namespace

Section utilisation_section(const RunList& runs, ChartMaker& charts) {
  Section section{.title = "Use of the peak", .blocks = {}, .long_forms_only = true};
  BarChart chart{.title = "Shares of the measured matmul peak",
                 .categories = {"MFU, customary count", "share of peak, executed work"},
                 .rows = {},
                 .stacked = false,
                 .x = {}};
  chart.x.title = "of the peak of all ranks together";
  chart.x.percent = true;
  for (const Run& r : runs)
    if (!r.damaged() && r.trains() && known(r.mfu()) && chart.rows.size() < kMostBars)
      chart.rows.push_back({r.name, {r.mfu(), r.peak_share()}});
  if (chart.rows.empty()) return section;
  section.paragraph(
      "MFU, by the customary count: (6 N + 12 L H Q T) × tokens a second / peak, with N all "
      "parameters, L layers, H heads of width Q, T the context. It may pass 100 % where most "
      "parameters are looked up and never multiplied.");
  section.paragraph(
      "Share of peak, by the work that is executed: FLOPs of the matrix products that a step does "
      "(padding and recomputed blocks included; of attention the pairs that the mask lets through; "
      "nothing of tables whose rows are looked up) / (seconds a step × peak). The peak of both is "
      "the best matmul rate of all ranks together that was measured until then.");
  charts.add(section, chart);
  return section;
}

Section time_section(const RunList& runs, ChartMaker& charts) {
  Section section{.title = "Where the time goes", .blocks = {}};
  Table table{{{"run", false},
               {"compute %"},
               {"forward", true, 2},
               {"backward", true, 2},
               {"optimizer", true, 2},
               {"exposed comm %"},
               {"bubble %"},
               {"data %"},
               {"other %"},
               {"sum", true, 1}},
              {}};
  BarChart chart{.title = "Shares of the time",
                 .categories = bar_names(),
                 .rows = {},
                 .stacked = true,
                 .x = {}};
  chart.x.title = "of the time, without the first three steps of each start";
  for (const Run& r : runs) {
    StepShares shares{};
    if (r.damaged() || !r.shares(shares)) continue;
    const std::vector<double> bars = bars_of(shares);
    const std::vector<int> tenths = tenths_of_percent(bars);
    // The three parts of compute sum to what is printed for it.
    std::vector<int> parts = tenths_of_percent(
        {share_of(shares, TimeShare::forward), share_of(shares, TimeShare::backward),
         share_of(shares, TimeShare::optimizer), 1 - bars[0]});
    parts[2] += tenths[0] - parts[0] - parts[1] - parts[2];
    if (parts[2] < 0) parts[1] += parts[2], parts[2] = 0;
    if (parts[1] < 0) parts[0] += parts[1], parts[1] = 0;
    int sum = 0;
    for (const int t : tenths) sum += t;
    table.rows.push_back(
        {{r.name, tenths_text(tenths[0]), tenths_text(parts[0]), tenths_text(parts[1]),
          tenths_text(parts[2]), tenths_text(tenths[1]), tenths_text(tenths[2]),
          tenths_text(tenths[3]), tenths_text(tenths[4]), tenths_text(sum)}});
    if (chart.rows.size() < kMostBars) chart.rows.push_back({r.name, bars});
  }
  if (table.rows.empty()) return section;
  charts.add(section, chart);
  section.add(std::move(table));
  return section;
}

Section communication_section(const RunList& runs, ChartMaker& charts) {
  Section section{.title = "Communication", .blocks = {}, .long_forms_only = true};
  Table table{{{"run", false},
               {"ranks"},
               {"sent a step"},
               {"a rank and step"},
               {"a token"},
               {"while running"},
               {"exposed share"}},
              {}};
  BarChart chart{.title = "Bytes that all ranks send in a step",
                 .categories = {"bytes"},
                 .rows = {},
                 .stacked = false,
                 .x = {}};
  chart.x.title = "bytes a step";
  for (const Run& r : runs) {
    const double bytes = r.comm_bytes();
    if (r.damaged() || !known(bytes)) continue;
    StepShares shares{};
    const double exposed = r.shares(shares) ? share_of(shares, TimeShare::comm) : r.text.comm_share;
    double total = 0, tokens = 0;
    for (const RunStep& step : r.steps)
      if (known(step.comm_bytes) && known(step.tokens))
        total += step.comm_bytes, tokens += step.tokens;
    if (!r.trains()) {
      total = bytes;
      tokens = (known(r.text.prompt_tokens) ? r.text.prompt_tokens : 0) +
               (known(r.text.new_tokens) ? r.text.new_tokens : 0);
    }
    const double seconds = r.trains() ? r.step_s() : r.elapsed_s;
    table.rows.push_back(
        {{r.name, grouped(or_unknown(r.ranks)), r.trains() ? bytes_text(bytes) : kNothing,
          r.trains() && r.ranks > 0 ? bytes_text(bytes / static_cast<double>(r.ranks)) : kNothing,
          tokens > 0 ? bytes_text(total / tokens) : kNothing,
          seconds > 0 ? bytes_text(bytes / seconds) + "/s" : kNothing, percent(exposed)}});
    if (r.trains() && chart.rows.size() < kMostBars) chart.rows.push_back({r.name, {bytes}});
  }
  const bool any = std::any_of(chart.rows.begin(), chart.rows.end(),
                               [](const BarRow& row) { return row.values[0] > 0; });
  if (table.rows.empty()) return section;
  section.paragraph(
      "What the ranks of a run sent, all together; the share of the time is what no computation "
      "hid.");
  if (any) charts.add(section, chart);
  section.add(std::move(table));
  return section;
}

}  // namespace weft::report
