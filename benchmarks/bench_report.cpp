#include "benchmarks/bench_report.h"

#include <fmt/format.h>

#include <cstdio>

#include "core/system/hardware.h"

namespace weft {
namespace {

std::string unit_of_peak(const Measurement& m) {
  return m.peak.ends_with("matmul") ? "GFLOP/s" : "GB/s";
}

// "0.7 = weights 0.2 + optimizer 0.5", in MB
std::string bytes_column(const OrderedJson& bytes) {
  const auto megabytes = [](const OrderedJson& n) {
    return fmt::format("{:.1f}", n.get<double>() / 1e6);
  };
  std::string text = megabytes(bytes["total"]), sign = " = ";
  for (const auto& [name, n] : bytes.items())
    if (name != "total") {
      text += sign + name + " " + megabytes(n);
      sign = " + ";
    }
  return text;
}

constexpr const char* kRow =
    "{:<10} {:>3} {:>3} {:>3} {:>5} {:>4} {:>10} {:>6} {:>7} {:>7} {:<11} {:>7} {:>7}  {}\n";

}  // namespace

void BenchReport::print(const GridShape& shape, const Measurement& m) {
  const double first = first_.emplace(m.name, m.value).first->second, ratio = m.value / first;
  if (json_)
    print_json(shape, m, ratio);
  else if (m.costs)
    print_row(shape, m, ratio);
  else
    print_line(m);
  std::fflush(stdout);
}

void BenchReport::print_line(const Measurement& m) const {
  std::string line = fmt::format("{:<50} {:>10.4g} {:<8}", m.name, m.value, m.unit);
  if (!m.peak.empty())
    line += fmt::format(" {:>5.1f} % of {} ({:.4g} {})", 100 * m.share, m.peak, m.peak_rate / 1e9,
                        unit_of_peak(m));
  if (!m.note.empty()) line += "  " + m.note;
  fmt::print("{}\n", line);
}

void BenchReport::print_row(const GridShape& shape, const Measurement& m, double ratio) {
  if (details_.empty())
    fmt::print(kRow, "", "tp", "pp", "dp", "ranks", "idle", "tok/s", "ratio", "MFU", "share", "of",
               "comm", "bubble", "MB a rank");
  details_[m.name.substr(0, m.name.find(','))] = m.name;
  const auto percent = [](double x) { return fmt::format("{:.1f} %", 100 * x); };
  const GridCosts& c = *m.costs;
  fmt::print(kRow, m.name.substr(0, m.name.find(',')), shape.tp, shape.pp, shape.dp, shape.ranks(),
             origin_.n_ranks - shape.ranks(), fmt::format("{:.5g}", m.value),
             fmt::format("{:.2f}", ratio), percent(c.mfu), percent(m.share),
             m.peak.ends_with("reads") ? "reads" : m.peak, percent(c.comm_share), percent(c.bubble),
             bytes_column(c.bytes));
}

void BenchReport::print_json(const GridShape& shape, const Measurement& m, double ratio) const {
  OrderedJson json = {{"bench", origin_.bench},   {"name", m.name},
                      {"value", m.value},         {"unit", m.unit},
                      {"share", m.share},         {"of", m.peak},
                      {"peak_rate", m.peak_rate}, {"command", origin_.command},
                      {"commit", origin_.commit}, {"cpu", cpu_model()},
                      {"tp", shape.tp},           {"pp", shape.pp},
                      {"dp", shape.dp},           {"threads", origin_.threads},
                      {"device", origin_.device}};
  if (m.costs)
    json.update({{"ranks", shape.ranks()},
                 {"idle_ranks", origin_.n_ranks - shape.ranks()},
                 {"ratio", ratio},
                 {"mfu", m.costs->mfu},
                 {"comm_share", m.costs->comm_share},
                 {"bubble_share", m.costs->bubble},
                 {"bytes_a_rank", m.costs->bytes}});
  if (m.more.is_object()) json.update(m.more);
  fmt::print("{}\n", json_text(json));
}

void BenchReport::print_end() const {
  if (details_.empty()) return;
  fmt::print("\n");
  for (const auto& [begin, name] : details_) fmt::print("{}\n", name);
  fmt::print(
      "ratio: to the first row of its kind. idle: ranks that wait, since the grid needs fewer.\n"
      "share: of a measured peak of the grid's ranks together (matmul, or sustained memory "
      "reads),\n"
      "  by the work that is executed: the half of attention that the mask lets through, no "
      "tables\n"
      "  that are looked up, padding and recomputed blocks too.\n"
      "MFU: the customary count (PaLM, appendix B) over the matmul peak: 6 N + 12 L H D T FLOPs a\n"
      "  token in training, a third of it in generation; N all parameters, both halves of the "
      "mask.\n"
      "comm: of the time, waiting for data of other ranks{}; mean over ranks.\n"
      "MB a rank: what the fullest rank plans to hold.\n",
      origin_.bench == "generate" ? ", of the stage before too" : "; bubble: for a stage");
}

}  // namespace weft
