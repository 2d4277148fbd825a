// A job script checked before it is queued: whatever the scheduler refuses, drops in silence or
// never runs is an error, what is likely not meant a warning, what could not be checked a note. The
// rules are tables of small functions (job_lint_*.cpp); what a machine allows stands in its
// machine.toml.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "machine/machine.h"

namespace weft {

enum class LintSeverity : std::uint8_t { error, warning, note };

struct LintFinding {
  int line = 0;
  std::string rule;
  LintSeverity severity = LintSeverity::error;
  std::string text, fix;  // fix: what to write instead; may be empty
};

// ---- what a command line of weft in the script comes to, told by who knows all options (cli)

struct WeftQuestion {
  std::vector<std::string> words;  // behind "weft"; parts that are not known carry marks
                                   // (shell_run.h)
  std::string folder;              // where it runs; empty: not known
  std::optional<std::int64_t> ranks;
};

struct WeftLine {
  std::string command;
  bool on_grid = false;                             // it runs a model on a grid of ranks
  std::optional<std::int64_t> tp, pp, dp, threads;  // dp, threads 0: left to weft; none: not known
  std::string device;
  std::vector<LintFinding> findings;  // its options, its recipe; their line is the caller's
  std::vector<std::pair<std::string, std::string>> reads;  // option and path
  std::vector<std::string> writes;                         // paths
  std::optional<double> rank_bytes;  // of the largest rank: weights, gradients, moments
  std::string rank_bytes_of;         // "weights, gradients and moments of 6.7 B parameters"
  std::string not_known;             // why rank_bytes is not there; empty: nothing to say
};

using ReadWeft = std::function<WeftLine(const WeftQuestion&)>;

struct LintSettings {
  std::string folder;  // where the job will be queued
  ReadWeft read_weft;  // null: weft's own options are not looked at
};

// Sorted by line. UserError: the script has no directives of any scheduler.
std::vector<LintFinding> lint_job(const std::string& file, const std::string& text,
                                  const Machine& machine, const LintSettings& settings);

const char* severity_name(LintSeverity severity);
// The names of all rules, in the order in which they are checked.
std::vector<std::string> lint_rules();

}  // namespace weft
