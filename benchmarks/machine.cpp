// What the cores of each rank reach, all measuring at the same time, which of them are slow, and
// what a description of the machine says; with --out this host's description.
#include <algorithm>
#include <cmath>

#include "benchmarks/bench.h"
#include "benchmarks/pairs.h"
#include "comm/agreement.h"
#include "comm/launcher.h"
#include "core/gpu.h"
#include "core/log.h"
#include "core/system/hardware.h"
#include "io/files.h"
#include "machine/machine.h"

namespace weft {
namespace {

constexpr double kSlowShare = 0.85;  // of the median: a rank below is named

struct Kind {
  const char *name, *unit;
  double all;               // of all ranks together, /s
  std::vector<double> own;  // of each rank, /s
  double described;         // of a node, in units of 1e9; 0: the description does not say
  OrderedJson more;
};

// Ranks below the median by more than noise: upper_bounds() of the time that a unit of work takes.
std::vector<int> slow_ranks(const std::vector<double>& own) {
  std::vector<double> seconds;
  for (double rate : own) seconds.push_back(1 / rate);
  const double median = true_median(own);
  // Of two, one may be slow: the bounds know nothing of fewer than three.
  const double limit = own.size() < 3 ? 0 : upper_bounds(seconds, 1 / kSlowShare).limit;
  std::vector<int> slow;
  for (std::size_t r = 0; r < own.size(); ++r)
    if (own[r] < kSlowShare * median && seconds[r] > limit) slow.push_back(static_cast<int>(r));
  return slow;
}

void report_kind(const BenchRun& run, const Kind& kind, const Machine* machine,
                 std::size_t n_hosts) {
  const auto [least, most] = std::ranges::minmax(kind.own);
  const double middle = true_median(kind.own);
  OrderedJson more = kind.more, slow = OrderedJson::array(), ranks = OrderedJson::array();
  std::string note;
  if (kind.own.size() > 1)
    note = fmt::format("a rank: {:.4g} to {:.4g}, median {:.4g}", least / 1e9, most / 1e9,
                       middle / 1e9);
  for (double rate : kind.own) ranks.push_back(rate / 1e9);
  for (const int rank : slow_ranks(kind.own)) {
    const std::string& host = run.hosts[static_cast<std::size_t>(rank)];
    const double rate = kind.own[static_cast<std::size_t>(rank)];
    slow.push_back({{"rank", rank}, {"host", host}, {"value", rate / 1e9}});
    note += fmt::format("; SLOW: rank {} on {}: {:.4g}, {:.0f} % under the median", rank, host,
                        rate / 1e9, 100 * (1 - rate / middle));
  }
  more.update({{"ranks", run.grid.shape().ranks()},
               {"hosts", n_hosts},
               {"rank_min", least / 1e9},
               {"rank_median", middle / 1e9},
               {"rank_max", most / 1e9},
               {"of_ranks", ranks},
               {"slow", slow}});
  if (machine && kind.described > 0) {
    const double of_node = kind.all / 1e9 / static_cast<double>(n_hosts);
    more.update({{"described", kind.described},
                 {"described_by", machine->name},
                 {"described_source", machine->peaks.source},
                 {"of_described", of_node / kind.described}});
    note += fmt::format("{}a node: {:.0f} % of the {:.4g} that '{}' describes",
                        note.empty() ? "" : "; ", 100 * of_node / kind.described, kind.described,
                        machine->name);
  }
  run.report({.name = kind.name,
              .value = kind.all / 1e9,
              .unit = kind.unit,
              .peak = "",
              .more = more,
              .note = note});
}

// This host with what was measured, all of its ranks together.
Machine describe(const BenchRun& run, const std::vector<Kind>& kinds, std::size_t n_hosts) {
  const HostHardware host = host_hardware();
  Machine m;
  m.name = std::filesystem::path(run.options.out).stem().string();
  m.site = "local";
  m.source = "hwloc and weft bench machine, on " + host_name();
  m.node.count = static_cast<std::int64_t>(n_hosts);
  m.node.cpu = cpu_model();
  m.node.cores = host.cores;
  m.node.hardware_threads = host.hardware_threads;
  m.node.numa_domains = host.numa_domains;
  const auto tenths = [](double x) { return std::round(10 * x) / 10; };
  m.node.memory_gib = tenths(host.memory_bytes / (1 << 30));
  m.node.gpus = gpu_count();
  const auto of_node = [&](const Kind& kind) {
    return tenths(kind.all / 1e9 / static_cast<double>(n_hosts));
  };
  m.peaks.cpu_fp32_gflops = of_node(kinds[0]);
  m.peaks.cpu_bf16_gflops = of_node(kinds[1]);
  m.peaks.cpu_read_gb_per_s = of_node(kinds[2]);
  m.peaks.source = "measured by weft bench machine";
  m.launcher.dialect = mpi_family(Mpi::library_version()) == MpiFamily::open_mpi
                           ? LauncherDialect::open_mpi
                           : LauncherDialect::hydra;
  return m;
}

}  // namespace

void bench_machine(const BenchRun& run) {
  const BenchOptions& o = run.options;
  const bool first = run.grid.world().rank() == 0;
  const std::optional<Machine> machine =
      o.machine.empty() ? machine_of_run() : std::optional(find_machine(o.machine));
  if (machine && machine->node.cores > 0 && machine->node.cores != host_cores() && first)
    log_warning("'{}' describes nodes of {} cores, but this job may use {} of {}'s", machine->name,
                machine->node.cores, host_cores(), host_name());
  for (std::int64_t i = 0; i < o.repeats; ++i) {
    run.peaks.sample_matmul(Precision::fp32);
    run.peaks.sample_matmul(Precision::bf16);
    run.peaks.sample_reads();
  }
  std::vector<std::string> hosts = run.hosts;
  std::ranges::sort(hosts);
  const auto n_hosts =
      static_cast<std::size_t>(std::unique(hosts.begin(), hosts.end()) - hosts.begin());
  const double fp32 = run.peaks.matmul(Precision::fp32).rate(),
               bf16 = run.peaks.matmul(Precision::bf16).rate();
  const auto own = [&](double mine) { return of_every_rank(run.grid, run.stream, mine); };
  const MachinePeaks said = machine ? machine->peaks : MachinePeaks();
  const std::vector<Kind> kinds = {
      {"matmul fp32", "GFLOP/s", fp32, own(run.peaks.own_matmul(Precision::fp32)),
       said.cpu_fp32_gflops, OrderedJson::object({{"library", matmul_library()}})},
      {"matmul bf16", "GFLOP/s", bf16, own(run.peaks.own_matmul(Precision::bf16)),
       said.cpu_bf16_gflops, OrderedJson::object({{"beside_fp32", bf16 / fp32}})},
      {"memory reads", "GB/s", run.peaks.reads().rate(), own(run.peaks.own_reads()),
       said.cpu_read_gb_per_s, OrderedJson::object()}};
  for (const Kind& kind : kinds) report_kind(run, kind, machine ? &*machine : nullptr, n_hosts);
  if (o.out.empty()) return;
  const std::size_t ranks_on_host = run.hosts.size() / n_hosts;
  if (first && ranks_on_host * static_cast<std::size_t>(run.threads) <
                   static_cast<std::size_t>(host_cores()))
    log_warning(
        "{}: the peaks are those of {} of the host's {} cores; for all of them leave --threads to "
        "its default",
        o.out, ranks_on_host * static_cast<std::size_t>(run.threads), host_cores());
  on_first_rank(run.grid.world(), run.stream, [&] {
    write_file_atomically(o.out, machine_toml(describe(run, kinds, n_hosts)));
    log_info("{} describes this host", o.out);
  });
}

}  // namespace weft
