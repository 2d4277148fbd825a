// Rules about the lines that start ranks: the launcher's own options, ranks and nodes, threads and
// cores.
#include <fmt/ranges.h>

#include <algorithm>

#include "plan/lint_rules.h"

namespace weft {
namespace {

using Dialect = LauncherDialect;

void launcher(const LintJob& job) {
  const Dialect own = job.machine.launcher.dialect;
  for (const LaunchLine& l : job.launches) {
    if (l.launcher.empty() || l.by_function) continue;
    const bool slurm = own == Dialect::srun;
    const std::string command = job.machine.launcher.command;
    if (l.launcher == "aprun" || l.launcher == "jsrun" || l.launcher == "flux" ||
        (l.launcher == "srun" && job.pbs()))
      job.error(l.command.line, fmt::format("{} has no {}", job.machine.name, l.launcher), command);
    else if (slurm && l.launcher != "srun")
      job.warning(l.command.line,
                  fmt::format("{} starts ranks with srun; {} may start them all on one node",
                              job.machine.name, l.launcher),
                  command);
    else if (own == Dialect::pals && l.launcher == "mpirun")
      job.warning(l.command.line,
                  fmt::format("PALS, {}'s launcher, has no mpirun", job.machine.name), command);
  }
}

// The job ends with its script, and takes with it what runs in the background.
void background(const LintJob& job) {
  const LaunchLine* left = nullptr;
  for (const LaunchLine& l : job.launches) {
    if (!l.command.background) left = nullptr;
    if (l.command.background) left = &l;
  }
  if (!left || job.run.sourced) return;
  for (const int line : job.run.waits)
    if (line >= left->command.line) return;
  for (const RanCommand& c : job.run.commands) {  // other ways to wait
    const bool waits = c.words[0] == "sleep" || c.words[0] == "tail" || c.words[0] == "fg";
    if (c.line > left->command.line && (waits || c.in_loop)) return;
  }
  job.error(
      left->command.line,
      "it runs in the background, and no wait follows: the job ends with its script, and this "
      "with it",
      "wait, below it");
}

void launcher_option(const LintJob& job) {
  for (const LaunchLine& l : job.launches) {
    if (l.launcher.empty() || l.by_function) continue;
    const Dialect own = l.launcher == "srun" ? Dialect::srun : job.machine.launcher.dialect;
    if (l.launcher != "srun" && own == Dialect::srun) continue;  // said already
    for (const std::string& option : l.options) {
      const std::string of = foreign_dialect(option, own);
      if (of.empty()) continue;
      job.error(l.command.line,
                fmt::format("{} is an option of {}'s; {}'s {} is {}'s and refuses it", option, of,
                            job.machine.name, l.launcher, dialect_name(own)),
                own == Dialect::pals       ? "-n, --ppn, --depth, --cpu-bind, --env"
                : own == Dialect::open_mpi ? "-n, -N, --map-by ppr:N:node:PE=THREADS, --bind-to, -x"
                                           : "");
      break;
    }
  }
}

// Counts that are not known before the job runs: what depends on them is not checked.
void not_known(const LintJob& job) {
  for (const LaunchLine& l : job.launches) {
    for (const LaunchCount* count : {&l.ranks, &l.per_node, &l.nodes, &l.depth}) {
      if (!count->unknown()) continue;
      for (const std::string& name : unknown_names(count->text)) {
        const bool never = job.run.never_set.contains(name) && !job.run.sourced;
        if (never)
          job.warning(l.command.line, fmt::format("{} is set nowhere in this script", name),
                      fmt::format("set {}, or check its spelling", name));
      }
      if (is_known(count->text))
        job.error(l.command.line,
                  fmt::format("'{}' is no number, where {} takes one", count->text, l.launcher));
      else
        job.note(l.command.line,
                 fmt::format("{} is not known here: what depends on it was not checked",
                             shown_text(count->text)));
    }
    if (!l.launcher.empty() && l.program.empty())
      job.error(l.command.line, fmt::format("{} has no program to start", l.launcher));
  }
}

std::int64_t nodes_used(const LaunchLine& l) {
  const std::int64_t per_node = std::max<std::int64_t>(1, *l.ranks_per_node);
  return (*l.rank_count + per_node - 1) / per_node;
}

bool counted_ranks(const LaunchLine& l) {
  return !l.launcher.empty() && l.rank_count && l.ranks_per_node && *l.rank_count > 0 &&
         *l.ranks_per_node > 0;
}

void ranks(const LintJob& job) {
  for (const LaunchLine& l : job.launches) {
    if (l.rank_count && *l.rank_count < 1)
      job.error(l.command.line, fmt::format("{} ranks are asked for", *l.rank_count));
    if (l.ranks_per_node && *l.ranks_per_node < 1)
      job.error(l.command.line, fmt::format("{} ranks a node are asked for", *l.ranks_per_node));
    if (l.nodes.value && job.request.nodes && *l.nodes.value > *job.request.nodes)
      job.error(l.command.line, fmt::format("{} of a job that has {}",
                                            counted(*l.nodes.value, "node"), *job.request.nodes));
  }
}

void ranks_nodes(const LintJob& job) {
  const auto& nodes = job.request.nodes;
  if (!nodes) return;
  for (const LaunchLine& l : job.launches) {
    if (!counted_ranks(l) || nodes_used(l) <= *nodes || l.nodes.value) continue;
    job.error(l.command.line,
              fmt::format("{} ranks, {} a node, need {}; the job has {}", *l.rank_count,
                          *l.ranks_per_node, counted(nodes_used(l), "node"), *nodes),
              fmt::format("{} ranks, or select={}", *nodes * *l.ranks_per_node, nodes_used(l)));
  }
}

// One launch may leave nodes out (a helper on one of them), but some launch uses each.
void idle_nodes(const LintJob& job) {
  const auto& nodes = job.request.nodes;
  if (!nodes || *nodes < 2) return;
  const LaunchLine* best = nullptr;
  std::int64_t most = 0, together = 0;
  for (const LaunchLine& l : job.launches) {
    std::int64_t used = 0;
    if (l.launcher.empty())
      used = 1;
    else if (counted_ranks(l))
      used = nodes_used(l);
    else if (l.rank_count && l.per_node.text.empty() && !l.own_hosts)
      used = std::min(*l.rank_count, *nodes);  // where they land is not said
    else
      return;  // not known
    if (l.own_hosts) return;
    if (l.command.background) together += used;
    if (used > most) most = used, best = &l;
  }
  if (!best || std::max(most, together) >= *nodes) return;
  job.error(
      best->command.line,
      fmt::format(
          "{} of {} nodes have no rank: {}", *nodes - most, *nodes,
          best->launcher.empty()
              ? "without a launcher there is one rank"
              : fmt::format(
                    "{}{}", counted(*best->rank_count, "rank"),
                    best->ranks_per_node ? fmt::format(", {} a node", *best->ranks_per_node) : "")),
      best->ranks_per_node && !best->launcher.empty()
          ? fmt::format("-n {}", *nodes * *best->ranks_per_node)
          : fmt::format("{} -n RANKS with ranks for each node", job.machine.launcher.command));
}

void spread(const LintJob& job) {
  const auto& nodes = job.request.nodes;
  if (!nodes || *nodes < 1) return;
  for (const LaunchLine& l : job.launches) {
    if (l.launcher.empty() || l.by_function || l.own_hosts || !l.rank_count) continue;
    if (counted_ranks(l) && nodes_used(l) == *nodes && *l.rank_count % *l.ranks_per_node != 0)
      job.warning(l.command.line,
                  fmt::format("{} ranks, {} a node: the last node has {}", *l.rank_count,
                              *l.ranks_per_node, *l.rank_count % *l.ranks_per_node),
                  "as many on each node");
    if (!l.per_node.text.empty() || *nodes == 1 || *l.rank_count <= 1 || l.launcher == "srun")
      continue;
    const bool open_mpi = job.machine.launcher.dialect == Dialect::open_mpi;
    job.warning(l.command.line,
                fmt::format("how {} ranks are spread over {} nodes is left to {}", *l.rank_count,
                            *nodes, l.launcher),
                *l.rank_count % *nodes == 0
                    ? fmt::format("{} {}", open_mpi ? "-N" : "--ppn", *l.rank_count / *nodes)
                    : "");
  }
}

// Of the node, or of the GPUs' share of it that a queue gives.
std::int64_t cores_at_hand(const LintJob& job) {
  const MachineNode& node = job.machine.node;
  const JobRequest& r = job.request;
  if (r.in && r.in->unit == QueueUnit::gpu && r.units && node.gpus > 0)
    return std::max<std::int64_t>(1, node.cores * std::min(*r.units, node.gpus) / node.gpus);
  return node.cores;
}

void threads(const LintJob& job) {
  const std::int64_t cores = cores_at_hand(job);
  if (cores == 0) return;
  const std::int64_t smt =
      std::max<std::int64_t>(1, job.machine.node.hardware_threads / job.machine.node.cores);
  for (const LaunchLine& l : job.launches) {
    if (!counted_ranks(l)) continue;
    const WeftLine* weft = nullptr;
    for (const WeftLaunch& w : job.wefts)
      if (w.launch == &l) weft = &w.line;
    const std::int64_t per_node = *l.ranks_per_node;
    std::optional<std::int64_t> n = l.threads.value, depth = l.depth.value;
    if (weft && weft->threads && *weft->threads > 0) n = weft->threads;
    if (!n && l.by_function) n = depth;
    const bool many = n && *n > 0 && per_node * *n > cores;
    if (depth && *depth > 1 && l.binds && per_node > 0 && *depth > cores * smt / per_node) {
      job.warning(l.command.line,
                  fmt::format("{} bound to {} each need {} hardware threads of a node that has {}",
                              counted(per_node, "rank"), counted(*depth, "core"), per_node * *depth,
                              cores * smt),
                  fmt::format("--depth {}", std::max<std::int64_t>(1, cores / per_node)));
    } else if (per_node > cores * smt) {
      job.warning(l.command.line, fmt::format("{} ranks on a node of {} cores", per_node, cores),
                  fmt::format("{} at most", cores));
    } else if (many && weft) {
      job.warning(l.command.line,
                  fmt::format("{} ranks of {} on a node are {} threads for {} cores", per_node,
                              counted(*n, "thread"), per_node * *n, cores),
                  fmt::format("{} threads", std::max<std::int64_t>(1, cores / per_node)));
    } else if (many && per_node * *n > cores * smt) {
      job.warning(l.command.line,
                  fmt::format("{} ranks of {} on a node are {} threads for {} hardware threads",
                              per_node, counted(*n, "thread"), per_node * *n, cores * smt),
                  fmt::format("{} threads", std::max<std::int64_t>(1, cores / per_node)));
    } else if (depth && l.binds && n && *n > *depth * smt) {
      job.warning(l.command.line,
                  fmt::format("{} on {} that each rank is bound to", counted(*n, "thread"),
                              counted(*depth, "core")),
                  fmt::format("--depth {}", *n));
    } else if (weft && weft->on_grid && weft->device != "cuda") {
      // What weft is not told it takes: all that it is bound to.
      const std::int64_t used = n ? *n : depth.value_or(0);
      if (used > 0 && per_node * used < cores && cores / per_node > used)
        job.warning(l.command.line,
                    fmt::format("{} ranks of {} on a node leave {} of its {} cores idle", per_node,
                                counted(used, "thread"), cores - per_node * used, cores),
                    fmt::format("{} threads", cores / per_node));
    }
  }
}

constexpr LintRule kRules[] = {{"launcher", launcher},
                               {"launch-background", background},
                               {"launcher-option", launcher_option},
                               {"not-understood", not_known},
                               {"ranks", ranks},
                               {"ranks-nodes", ranks_nodes},
                               {"idle-nodes", idle_nodes},
                               {"ranks-spread", spread},
                               {"threads", threads}};

}  // namespace

std::span<const LintRule> launch_rules() { return kRules; }

}  // namespace weft
