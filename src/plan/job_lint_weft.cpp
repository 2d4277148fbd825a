// Rules about weft's own command lines: the grid on its ranks, tensor parallelism inside a node,
// memory, and what it reads.
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "plan/lint_rules.h"

namespace weft {
namespace {

int line_of(const WeftLaunch& w) { return w.launch->command.line; }

// What its options and its recipe say; each under its own rule.
void weft_options(const LintJob& job) {
  for (const WeftLaunch& w : job.wefts)
    for (LintFinding finding : w.line.findings) {
      finding.line = line_of(w);
      job.findings.push_back(std::move(finding));
    }
}

void ranks_grid(const LintJob& job) {
  for (const WeftLaunch& w : job.wefts) {
    const WeftLine& l = w.line;
    // Nodes without ranks are said already (idle-nodes).
    if (w.launch->launcher.empty() && job.request.nodes.value_or(1) > 1) continue;
    if (!l.on_grid || !w.launch->rank_count || *w.launch->rank_count < 1) continue;
    const std::int64_t ranks = *w.launch->rank_count;
    if (!l.tp || !l.pp || !l.dp) {
      job.note(line_of(w), "the grid is not known here: that it fits the ranks was not checked");
      continue;
    }
    const std::int64_t group = *l.tp * *l.pp;
    const std::string of = w.launch->launcher.empty() ? ", as no launcher starts more" : "";
    if (*l.dp > 0 && group * *l.dp != ranks)
      job.error(line_of(w),
                fmt::format("tp {} x pp {} x dp {} are {} ranks, but there {} {}{}", *l.tp, *l.pp,
                            *l.dp, group * *l.dp, ranks == 1 ? "is" : "are", ranks, of),
                fmt::format("-n {}, or another grid", group * *l.dp));
    else if (*l.dp == 0 && ranks % group != 0)
      job.error(line_of(w),
                fmt::format("tp {} x pp {} does not divide {}{}", *l.tp, *l.pp,
                            counted(ranks, "rank"), of),
                fmt::format("a multiple of {} ranks, or another grid", group));
  }
}

void tp_node(const LintJob& job) {
  for (const WeftLaunch& w : job.wefts) {
    const auto& per_node = w.launch->ranks_per_node;
    if (!w.line.on_grid || !w.line.tp || !per_node || *per_node < 1) continue;
    const std::int64_t tp = *w.line.tp;
    if (tp <= 1 || *per_node % tp == 0) continue;
    if (w.launch->rank_count && *w.launch->rank_count <= *per_node) continue;  // one node
    job.error(line_of(w),
              fmt::format("tp {} with {} a node: a tensor-parallel group crosses nodes", tp,
                          counted(*per_node, "rank")),
              fmt::format("a tp that divides {}, and pp or dp between nodes", *per_node));
  }
}

void gpus(const LintJob& job) {
  std::int64_t gpus = job.machine.node.gpus;
  const JobRequest& r = job.request;
  if (r.in && r.in->unit == QueueUnit::gpu && r.units) gpus = std::min(gpus, *r.units);
  if (r.gpus_per_node) gpus = std::min(gpus, *r.gpus_per_node);
  for (const WeftLaunch& w : job.wefts) {
    const auto& per_node = w.launch->ranks_per_node;
    if (w.line.device != "cuda" || !w.line.on_grid || !per_node) continue;
    const bool asks =
        std::any_of(r.gpus.begin(), r.gpus.end(), [](const JobGpus& g) { return g.other.empty(); });
    if (!job.pbs() && job.machine.node.gpus > 0 && (!asks || r.gpus_per_node == 0))
      job.warning(line_of(w), "--device cuda, but the job asks for no GPU: Slurm may show it none",
                  fmt::format("#SBATCH --gpus-per-node={}", job.machine.node.gpus));
    else if (gpus == 0)
      job.error(line_of(w),
                fmt::format("--device cuda, but nodes of {} have no GPU", job.machine.name),
                "--device cpu");
    else if (*per_node != gpus)
      job.warning(line_of(w),
                  *per_node > gpus
                      ? fmt::format("{} ranks share {}", *per_node, counted(gpus, "GPU"))
                      : fmt::format("{} of {} GPUs of a node have no rank", gpus - *per_node, gpus),
                  fmt::format("{} ranks a node", gpus));
  }
}

std::string gigabytes(double bytes) { return fmt::format("{:.1f} GB", bytes / 1e9); }

void memory(const LintJob& job) {
  const MachineNode& node = job.machine.node;
  for (const WeftLaunch& w : job.wefts) {
    if (!w.line.on_grid) continue;
    if (!w.line.rank_bytes) {
      if (!w.line.not_known.empty())
        job.note(line_of(w), "memory was not checked: " + w.line.not_known);
      continue;
    }
    const double rank = *w.line.rank_bytes;
    const bool cuda = w.line.device == "cuda";
    const std::int64_t per_node =
        w.launch->launcher.empty() ? 1 : w.launch->ranks_per_node.value_or(1);
    const double gib = double(1ll << 30);
    const double needed = cuda ? rank : rank * static_cast<double>(per_node),
                 room = (cuda ? node.gpu_memory_gib : node.memory_gib) * gib;
    if (room == 0 || needed <= room) continue;
    job.error(line_of(w),
              fmt::format("{} of a rank take {}{}; a {} of {} has {}: the job never runs",
                          w.line.rank_bytes_of, gigabytes(rank),
                          cuda || per_node == 1
                              ? ""
                              : fmt::format(", {} ranks a node {}", per_node, gigabytes(needed)),
                          cuda ? "GPU" : "node", job.machine.name, gigabytes(room)),
              cuda ? "more tp or pp" : "more tp or pp, or fewer ranks a node");
  }
}

void missing_file(const LintJob& job) {
  namespace fs = std::filesystem;
  for (const WeftLaunch& w : job.wefts)
    for (const auto& [option, given] : w.line.reads) {
      if (!is_known(given) || given.empty() || given == "-") continue;
      fs::path path = given;
      if (path.is_relative()) {
        if (w.launch->command.folder.empty()) continue;
        path = fs::path(w.launch->command.folder) / path;
      }
      std::error_code error;
      if (fs::exists(path, error)) continue;
      // Named by an earlier command: that may make it.
      bool made = false;
      for (const RanCommand& c : job.run.commands) {
        if (c.line >= line_of(w)) break;
        for (std::size_t i = 1; i < c.words.size(); ++i) {
          const std::string& word = c.words[i];
          const std::size_t equals = word.find('=');
          const std::string value = equals == std::string::npos ? word : word.substr(equals + 1);
          made |= value == given || (value.size() > 1 && given.starts_with(value + "/"));
        }
      }
      if (made) continue;
      job.warning(line_of(w), fmt::format("{} {} is not there, as seen from here", option, given));
    }
}

void gpu_aware(const LintJob& job) {
  for (const WeftLaunch& w : job.wefts) {
    const auto at = w.launch->command.environment.find("MPICH_GPU_SUPPORT_ENABLED");
    if (at != w.launch->command.environment.end() && at->second == "1")
      job.warning(line_of(w),
                  "MPICH_GPU_SUPPORT_ENABLED=1: GPU-aware MPI beside NCCL can deadlock, and weft "
                  "hands MPI no GPU memory",
                  "MPICH_GPU_SUPPORT_ENABLED=0");
  }
}

constexpr LintRule kRules[] = {{"weft-options", weft_options},
                               {"ranks-grid", ranks_grid},
                               {"tp-node", tp_node},
                               {"gpus", gpus},
                               {"memory", memory},
                               {"missing-file", missing_file},
                               {"gpu-aware-mpi", gpu_aware}};

}  // namespace

std::span<const LintRule> weft_rules() { return kRules; }

}  // namespace weft
