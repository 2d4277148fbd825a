// Rules about what Slurm alone has: numbers of tasks and cores, memory, GPUs, words of options.
// What sbatch refuses was looked up with Slurm 22.05.
#include <algorithm>
#include <cctype>

#include "plan/lint_rules.h"

namespace weft {
namespace {

bool has_variable(const std::string& text) { return text.find('$') != std::string::npos; }

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

bool is_listed(const std::vector<std::string>& all, const std::string& word) {
  return std::find(all.begin(), all.end(), word) != all.end();
}

// The script's options that have a value which is not said already.
std::vector<JobOption> valued(const LintJob& job) {
  std::vector<JobOption> all;
  if (job.pbs()) return all;
  for (const JobOption& o : job.script.options)
    if (!o.value.empty() && !has_variable(o.value)) all.push_back(o);
  return all;
}

void slurm_number(const LintJob& job) {
  static const std::vector<std::string> kCounts = {
      "ntasks",        "ntasks-per-node", "ntasks-per-core", "ntasks-per-socket",
      "cpus-per-task", "ntasks-per-gpu",  "cpus-per-gpu",    "mincpus"};
  for (const JobOption& o : valued(job)) {
    if (!is_listed(kCounts, o.name)) continue;
    const auto n = whole_number(o.value);
    if (!n || *n < 1)
      job.error(o.line,
                fmt::format("--{} is '{}'; it must be a whole number from 1", o.name, o.value));
  }
}

// END,FAIL
bool all_listed(const std::string& text, const std::vector<std::string>& allowed) {
  for (const std::string& word : split(text, ','))
    if (!is_listed(allowed, upper(word))) return false;
  return true;
}

// [R|B|RB:]NAME or number[@seconds]
bool is_signal(std::string text) {
  const std::size_t at = text.find('@');
  if (at != std::string::npos) {
    const auto seconds = whole_number(text.substr(at + 1));
    if (!seconds || *seconds > 65535) return false;
    text.resize(at);
  }
  if (const std::size_t colon = text.find(':'); colon != std::string::npos) {
    if (!is_listed({"B", "R", "RB", "BR"}, text.substr(0, colon))) return false;
    text = text.substr(colon + 1);
  }
  if (const auto number = whole_number(text)) return *number > 0 && *number < 65;
  text = upper(text);
  if (text.starts_with("SIG")) text = text.substr(3);
  return is_listed({"HUP", "INT", "QUIT", "ABRT", "KILL", "ALRM", "TERM", "USR1", "USR2", "URG",
                    "CONT", "STOP", "TSTP", "TTIN", "TTOU"},
                   text);
}

void slurm_word(const LintJob& job) {
  static const std::vector<std::string> kMail = {
      "NONE",          "BEGIN",       "END",           "FAIL",          "REQUEUE",
      "ALL",           "STAGE_OUT",   "TIME_LIMIT",    "TIME_LIMIT_50", "TIME_LIMIT_80",
      "TIME_LIMIT_90", "ARRAY_TASKS", "INVALID_DEPEND"};
  for (const JobOption& o : valued(job)) {
    std::string allowed;
    if (!o.takes_value && o.name != "exclusive" && o.name != "nice" && o.name != "no-kill" &&
        o.name != "get-user-env")
      job.error(o.line, fmt::format("--{} takes no value, but has '{}'", o.name, o.value));
    else if (o.name == "open-mode" && o.value != "append" && o.value != "truncate")
      allowed = "append, truncate";
    else if (o.name == "exclusive" && !is_listed({"user", "mcs", "topo"}, o.value))
      allowed = "nothing, user, mcs, topo";
    else if (o.name == "mail-type" && !all_listed(o.value, kMail))
      allowed = "a list of BEGIN, END, FAIL, REQUEUE, ALL, NONE, TIME_LIMIT, ARRAY_TASKS";
    else if (o.name == "signal" && !is_signal(o.value))
      allowed = "[B:]SIGNAL[@SECONDS], as B:USR1@120";
    else if (o.name == "time-min" && !slurm_seconds(o.value))
      allowed = "HH:MM:SS, D-HH:MM:SS or minutes";
    if (!allowed.empty())
      job.error(o.line, fmt::format("--{} is '{}'; allowed: {}", o.name, o.value, allowed));
  }
}

// Whole numbers with K, M, G or T; M without.
std::optional<double> slurm_bytes(const std::string& text) {
  const std::size_t digits = text.find_first_not_of("0123456789");
  const std::string unit = digits == std::string::npos ? "M" : upper(text.substr(digits));
  if (!is_listed({"K", "M", "G", "T", "KB", "MB", "GB", "TB"}, unit)) return std::nullopt;
  return parse_bytes(text.substr(0, digits) + unit);
}

void slurm_memory(const LintJob& job) {
  const JobRequest& r = job.request;
  const std::optional<std::int64_t> tasks = r.most_tasks_of_a_node();
  for (const JobOption& o : valued(job)) {
    if (!is_listed({"mem", "mem-per-cpu", "mem-per-gpu", "tmp"}, o.name)) continue;
    const auto asked = slurm_bytes(o.value);
    if (!asked) {
      job.error(o.line, fmt::format("--{} is '{}'; it must be a whole number with K, M, G or T",
                                    o.name, o.value));
      continue;
    }
    double of_node = *asked;
    if (o.name == "tmp") continue;
    if (o.name == "mem-per-cpu")
      of_node *= static_cast<double>(tasks.value_or(1) * r.cpus_per_task.value_or(1));
    if (o.name == "mem-per-gpu") of_node *= static_cast<double>(r.gpus_per_node.value_or(1));
    const double gib = double(1ll << 30), most = job.machine.node.memory_gib * gib;
    if (most > 0 && of_node > most)
      job.error(o.line,
                fmt::format("--{}={} comes to {:.0f} GiB a node, but a node of {} has {:.0f}: the "
                            "job never runs",
                            o.name, o.value, of_node / gib, job.machine.name, most / gib));
  }
}

// Tasks and their cores that no node holds.
void slurm_cores(const LintJob& job) {
  const JobRequest& r = job.request;
  const std::int64_t most = job.machine.node.hardware_threads;
  const auto tasks = r.most_tasks_of_a_node();
  if (job.pbs() || most == 0 || !tasks) return;
  const std::int64_t cpus = r.cpus_per_task.value_or(1);
  if (*tasks < 1 || cpus < 1 || *tasks * cpus <= most) return;
  const JobOption* o = job.script.find("ntasks-per-node");
  if (!o) o = job.script.find("ntasks");
  if (!o) o = job.script.find("cpus-per-task");
  if (!o) return;
  job.error(o->line,
            fmt::format("{} a node of {} are {}, but a node of {} has {} hardware threads: the job "
                        "never runs",
                        counted(*tasks, "task"), counted(cpus, "core"), *tasks * cpus,
                        job.machine.name, most));
}

// --ntasks with --ntasks-per-node, which is then the most that a node takes.
void slurm_tasks(const LintJob& job) {
  const JobRequest& r = job.request;
  if (job.pbs() || !r.tasks || !r.tasks_per_node || !r.nodes) return;
  if (*r.tasks <= *r.tasks_per_node * *r.nodes) return;
  job.error(job.script.find("ntasks")->line,
            fmt::format("{}, but {} of {} each hold {}: the job never runs",
                        counted(*r.tasks, "task"), counted(*r.nodes, "node"),
                        counted(*r.tasks_per_node, "task"), *r.tasks_per_node * *r.nodes),
            fmt::format("--ntasks={}, or leave it out", *r.tasks_per_node * *r.nodes));
}

// ------------------------------------------------------------------------------------------ GPUs

std::string option_of(const JobGpus& g) { return fmt::format("--{}={}", g.option, g.text); }

void gpus_format(const LintJob& job) {
  for (const JobGpus& g : job.request.gpus) {
    if (!g.other.empty())
      job.note(g.line, fmt::format("not understood: {} asks for {}, of which {}'s description says "
                                   "nothing",
                                   option_of(g), g.other, job.machine.name));
    else if (!g.count)
      job.error(g.line, fmt::format("{}: '{}' is no number of GPUs", option_of(g), g.text),
                fmt::format("--{}={}4", g.option, g.option == "gres" ? "gpu:" : ""));
    else if (!g.type.empty() && !job.machine.node.gpu.empty() &&
             upper(job.machine.node.gpu).find(upper(g.type)) == std::string::npos)
      job.error(g.line,
                fmt::format("{}: a node of {} has no GPU of type {}, but {}", option_of(g),
                            job.machine.name, g.type, job.machine.node.gpu),
                "leave the type out");
  }
}

void gpus_node(const LintJob& job) {
  const JobRequest& r = job.request;
  const std::int64_t most = job.machine.node.gpus;
  const auto too_many = [&](const JobGpus& g, std::int64_t asked, const std::string& where) {
    job.error(
        g.line,
        most == 0
            ? fmt::format("{}, but nodes of {} have no GPU", option_of(g), job.machine.name)
            : fmt::format("{} asks for {}{}, but a node of {} has {}: the job never "
                          "runs",
                          option_of(g), counted(asked, "GPU"), where, job.machine.name, most));
  };
  for (const JobGpus& g : r.gpus) {
    if (!g.count || !g.other.empty() || *g.count == 0) continue;
    if (g.option == "gpus") {
      if (most == 0 || (r.nodes && *g.count > *r.nodes * most))
        too_many(g, *g.count, r.nodes ? fmt::format(" of {}", counted(*r.nodes, "node")) : "");
      else if (!r.nodes)
        job.note(g.line,
                 fmt::format("{}: how many nodes they come from is not known here", option_of(g)));
    } else if (g.option == "gpus-per-task") {
      const auto tasks = r.most_tasks_of_a_node();
      if (most == 0 || *g.count * tasks.value_or(1) > most)
        too_many(g, *g.count * tasks.value_or(1), " a node");
      else if (!tasks)
        job.note(g.line, fmt::format("{}: how many tasks a node has is not known here, so that its "
                                     "GPUs were not counted",
                                     option_of(g)));
    } else if (g.option == "gpus-per-socket") {
      job.note(g.line, fmt::format("not understood: {}; how many GPUs a node gives was not checked",
                                   option_of(g)));
    } else if (*g.count > most) {
      too_many(g, *g.count, " a node");
    }
  }
}

// sbatch refuses --gpus that is not --gpus-per-node times the nodes; of two numbers for a node one
// is lost.
void gpus_twice(const LintJob& job) {
  const JobRequest& r = job.request;
  const JobGpus *whole = nullptr, *node = nullptr;
  for (const JobGpus& g : r.gpus) {
    if (!g.count || !g.other.empty()) continue;
    if (g.option == "gpus") whole = &g;
    if (g.option != "gres" && g.option != "gpus-per-node") continue;
    if (node && node->type == g.type && *node->count != *g.count)
      job.warning(g.line,
                  fmt::format("GPUs of a node are asked for twice: {} in line {}", option_of(*node),
                              node->line),
                  "one of them");
    node = &g;
  }
  if (whole && node && r.nodes && *node->count > 0 && *whole->count != *node->count * *r.nodes)
    job.error(whole->line,
              fmt::format("{} is not {} of {}", option_of(*whole), option_of(*node),
                          counted(*r.nodes, "node")),
              fmt::format("--gpus={}, or leave it out", *node->count * *r.nodes));
}

constexpr LintRule kRules[] = {{"slurm-number", slurm_number}, {"slurm-word", slurm_word},
                               {"slurm-memory", slurm_memory}, {"slurm-cores", slurm_cores},
                               {"slurm-tasks", slurm_tasks},   {"gpus-format", gpus_format},
                               {"gpus-node", gpus_node},       {"gpus-twice", gpus_twice}};

}  // namespace

std::span<const LintRule> slurm_rules() { return kRules; }

}  // namespace weft
