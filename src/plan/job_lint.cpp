#include "plan/job_lint.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "core/check.h"
#include "plan/lint_rules.h"

namespace weft {
namespace {

constexpr std::span<const LintRule> (*kTables[])() = {directive_rules, option_rules, depend_rules,
                                                      resource_rules,  slurm_rules,  queue_rules,
                                                      command_rules,   launch_rules, weft_rules};

ShellFacts facts_of(const JobRequest& r, const Machine& machine, const LintSettings& settings) {
  ShellFacts facts;
  facts.nodes = r.nodes;
  facts.nodefile_lines = r.slots;
  facts.gpus = machine.node.gpus;
  if (r.in && r.in->unit == QueueUnit::gpu && r.units) facts.gpus = *r.units;
  if (r.gpus_per_node) facts.gpus = *r.gpus_per_node;
  facts.cores = machine.node.cores;
  facts.kit_ranks = machine.node.gpus > 0 ? machine.node.gpus : machine.node.cores;
  facts.hardware_threads = machine.node.hardware_threads;
  // PBS starts in the home folder, Slurm where sbatch was called.
  if (machine.scheduler.kind == SchedulerKind::slurm) {
    facts.folder = settings.folder;
    facts.unknown_prefix = "SLURM_";
    facts.variables["SLURM_SUBMIT_DIR"] = settings.folder;
    const auto number = [&](const char* name, const std::optional<std::int64_t>& value) {
      if (value) facts.variables[name] = std::to_string(*value);
    };
    number("SLURM_NNODES", r.nodes);
    number("SLURM_JOB_NUM_NODES", r.nodes);
    number("SLURM_NTASKS", r.tasks);
    number("SLURM_NTASKS_PER_NODE", r.tasks_per_node);
    number("SLURM_CPUS_PER_TASK", r.cpus_per_task);
    number("SLURM_GPUS_ON_NODE", r.gpus_per_node);
  } else {
    facts.unknown_prefix = "PBS_";
    facts.variables["PBS_O_WORKDIR"] = settings.folder;
  }
  return facts;
}

// Directives of a script that this one writes are not its own.
void drop_texts(JobScript& script, const ShellScript& commands) {
  for (auto* lines : {&script.late, &script.near, &script.foreign})
    std::erase_if(*lines, [&](const JobOddity& line) {
      return std::any_of(commands.texts.begin(), commands.texts.end(), [&](const LineRange& r) {
        return r.first <= line.line && line.line <= r.last;
      });
    });
}

// Options of directives that come too late: what they ask for is not reported as missing too.
std::vector<JobOption> late_options(const JobScript& script, SchedulerKind kind) {
  std::string text;
  for (const JobOddity& late : script.late) text += late.text + "\n";
  return read_job_script(script.file, text, kind).options;
}

}  // namespace

int LintJob::first_line() const {
  int first = 0;
  for (const JobOption& option : script.options)
    if (first == 0 || option.line < first) first = option.line;
  return std::max(first, 1);
}

bool LintJob::requires_(const char* what) const {
  const auto& all = machine.scheduler.required;
  return std::find(all.begin(), all.end(), what) != all.end();
}

bool LintJob::meant_elsewhere(const std::string& option, const std::string& resource) const {
  return std::any_of(meant.begin(), meant.end(), [&](const JobOption& o) {
    return o.name == option && o.value.find(resource) != std::string::npos;
  });
}

void LintJob::say(LintSeverity severity, int line, std::string text, std::string fix) const {
  findings.push_back({line, rule, severity, std::move(text), std::move(fix)});
}

std::string counted(std::int64_t n, const std::string& what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

const char* severity_name(LintSeverity severity) {
  return severity == LintSeverity::error     ? "error"
         : severity == LintSeverity::warning ? "warning"
                                             : "note";
}

std::vector<std::string> lint_rules() {
  std::vector<std::string> names;
  for (const auto table : kTables)
    for (const LintRule& rule : table()) names.emplace_back(rule.name);
  return names;
}

std::vector<LintFinding> lint_job(const std::string& file, const std::string& text,
                                  const Machine& machine, const LintSettings& settings) {
  const SchedulerKind kind = machine.scheduler.kind;
  CHECK_USER(kind != SchedulerKind::none,
             "machine {} has no scheduler, so there is nothing to check a job script against",
             machine.name);
  JobScript script = read_job_script(file, text, kind);
  const ShellScript commands = parse_shell(script.text);
  drop_texts(script, commands);
  CHECK_USER(script.has_directives() || !script.foreign.empty() || !script.late.empty() ||
                 !script.near.empty() || !script.glued.empty(),
             "{}: a job without directives: no line begins with {}", file, directive_prefix(kind));
  const JobRequest request = request_of(script, machine);
  const ShellRun run = run_shell(commands, facts_of(request, machine, settings));
  std::vector<LaunchLine> launches = launches_of(run);
  std::vector<WeftLaunch> wefts;
  for (LaunchLine& launch : launches) {
    resolve_launch(launch, request);
    if (!launch.weft || !settings.read_weft) continue;
    const auto first = launch.program.begin() + static_cast<std::ptrdiff_t>(*launch.weft) + 1;
    wefts.push_back(
        {&launch, settings.read_weft(
                      {{first, launch.program.end()}, launch.command.folder, launch.rank_count})});
  }
  std::vector<LintFinding> findings;
  const std::vector<JobOption> meant = late_options(script, kind);
  LintJob job{machine, script, request, run, launches, wefts, settings, meant, findings};
  const bool of_another = !script.has_directives() && !script.foreign.empty();
  for (const auto table : kTables) {
    for (const LintRule& rule : table()) {
      job.rule = rule.name;
      rule.check(job);
    }
    if (of_another) break;  // all else would be missing
  }
  if (commands.stopped_at > 0)
    findings.push_back({commands.stopped_at, "not-understood", LintSeverity::warning,
                        "from here on the script is not understood: " + commands.because,
                        "check it with bash -n"});
  std::stable_sort(findings.begin(), findings.end(),
                   [](const LintFinding& a, const LintFinding& b) { return a.line < b.line; });
  // A loop's rounds say the same.
  std::set<std::tuple<int, std::string, std::string>> seen;
  std::erase_if(findings, [&](const LintFinding& f) {
    return !seen.insert({f.line, f.rule, f.text}).second;
  });
  return findings;
}

}  // namespace weft
