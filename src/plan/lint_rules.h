// What the rules of the linter share: all that is known of the job, and how they say what they
// find.
#pragma once

#include <fmt/format.h>

#include <span>

#include "plan/job_lint.h"
#include "plan/launch_line.h"

namespace weft {

// A launch of weft, and what its options say.
struct WeftLaunch {
  const LaunchLine* launch;
  WeftLine line;
};

struct LintJob {
  const Machine& machine;
  const JobScript& script;
  const JobRequest& request;
  const ShellRun& run;
  const std::vector<LaunchLine>& launches;
  const std::vector<WeftLaunch>& wefts;
  const LintSettings& settings;
  const std::vector<JobOption>& meant;  // options of lines that are directives too late
  std::vector<LintFinding>& findings;
  const char* rule = "";

  bool pbs() const { return machine.scheduler.kind == SchedulerKind::pbs; }
  std::string scheduler() const { return pbs() ? "PBS" : "Slurm"; }
  std::string prefix() const { return directive_prefix(machine.scheduler.kind); }
  int first_line() const;  // of the directives
  bool requires_(const char* what) const;
  bool meant_elsewhere(const std::string& option, const std::string& resource = "") const;

  void say(LintSeverity severity, int line, std::string text, std::string fix) const;
  void error(int line, std::string text, std::string fix = "") const {
    say(LintSeverity::error, line, std::move(text), std::move(fix));
  }
  void warning(int line, std::string text, std::string fix = "") const {
    say(LintSeverity::warning, line, std::move(text), std::move(fix));
  }
  void note(int line, std::string text) const {
    say(LintSeverity::note, line, std::move(text), "");
  }
};

struct LintRule {
  const char* name;
  void (*check)(const LintJob&);
};

std::span<const LintRule> directive_rules();
std::span<const LintRule> option_rules();
std::span<const LintRule> depend_rules();
std::span<const LintRule> resource_rules();
std::span<const LintRule> slurm_rules();
std::span<const LintRule> queue_rules();
std::span<const LintRule> command_rules();
std::span<const LintRule> launch_rules();
std::span<const LintRule> weft_rules();

// "3 nodes", "1 node"
std::string counted(std::int64_t n, const std::string& what);

}  // namespace weft
