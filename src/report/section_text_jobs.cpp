// Generation and the other jobs over texts.
#include <algorithm>

#include "report/amounts.h"
#include "report/sections.h"

namespace weft::report {
namespace {

void add_latencies(Section& section, const RunList& runs, ChartMaker& charts) {
  for (const bool first : {true, false}) {
    BarChart chart{.title = first ? "Time to the first token" : "Time from token to token",
                   .categories = {"p50", "p95", "p99"},
                   .rows = {},
                   .stacked = false,
                   .x = {}};
    chart.x.title = "ms";
    for (const Run& r : runs) {
      const Percentiles& p = first ? r.text.ttft_s : r.text.inter_token_s;
      if (r.damaged() || r.trains() || !known(p.p50) || chart.rows.size() >= 24) continue;
      chart.rows.push_back({r.name, {1e3 * p.p50, 1e3 * p.p95, 1e3 * p.p99}});
    }
    charts.add(section, chart);
  }
}

}  // namespace

Section text_jobs_section(const RunList& runs, ChartMaker& charts) {
  Section section{.title = "Text jobs", .blocks = {}};
  Table speed{{{"run", false},
               {"what", false, 3},
               {"items", true, 1},
               {"prompt tokens", true, 4},
               {"new tokens", true, 4},
               {"prompt tok/s"},
               {"new tok/s"},
               {"tokens/s", true, 2},
               {"a rank", true, 2},
               {"time", true, 3}},
              {}};
  Table latency{{{"run", false},
                 {"queue p50"},
                 {"p95", true, 1},
                 {"TTFT p50"},
                 {"p95", true, 1},
                 {"p99", true, 1},
                 {"inter-token p50"},
                 {"p95", true, 1},
                 {"p99", true, 1}},
                {}};
  Table use{{{"run", false},
             {"batch occupancy"},
             {"cache use"},
             {"cache shared", true, 2},
             {"put off", true, 3},
             {"comm share"},
             {"streamed"},
             {"streamed/s"},
             {"of read peak"},
             {"of peak"}},
            {}};
  for (const Run& r : runs) {
    if (r.damaged() || r.trains()) continue;
    const TextJob& t = r.text;
    speed.rows.push_back({{r.name, r.what, grouped(t.items), grouped(t.prompt_tokens),
                           grouped(t.new_tokens), significant(t.prompt_tokens_per_s, 4),
                           significant(t.new_tokens_per_s, 4), significant(t.tokens_per_s, 4),
                           significant(r.tokens_per_s_rank(), 4), seconds_text(r.elapsed_s)}});
    latency.rows.push_back(
        {{r.name, seconds_text(t.queue_s.p50), seconds_text(t.queue_s.p95),
          seconds_text(t.ttft_s.p50), seconds_text(t.ttft_s.p95), seconds_text(t.ttft_s.p99),
          seconds_text(t.inter_token_s.p50), seconds_text(t.inter_token_s.p95),
          seconds_text(t.inter_token_s.p99)}});
    const double read_share = t.streamed_bytes_per_s / t.read_peak_bytes_per_s;
    const std::string streamed_rate = bytes_text(t.streamed_bytes_per_s);
    use.rows.push_back(
        {{r.name, percent(t.batch_occupancy), percent(t.cache_use), percent(t.cache_shared),
          grouped(t.preemptions), percent(t.comm_share), bytes_text(t.streamed_bytes),
          known(t.streamed_bytes_per_s) ? streamed_rate + "/s" : streamed_rate,
          percent(std::isfinite(read_share) ? read_share : kUnknown), percent(t.peak_share)}});
  }
  section.add(std::move(speed));
  const auto any = [](const Table& table) {
    return std::any_of(table.rows.begin(), table.rows.end(), [](const TableRow& row) {
      return std::any_of(row.cells.begin() + 1, row.cells.end(),
                         [](const std::string& cell) { return cell != kNothing; });
    });
  };
  if (any(latency)) section.add(std::move(latency));
  add_latencies(section, runs, charts);
  if (any(use)) section.add(std::move(use));
  return section;
}

}  // namespace weft::report
