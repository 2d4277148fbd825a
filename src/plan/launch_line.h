// A line of a script that starts ranks: mpiexec and its kin, and functions of job scripts that
// start it (launch/job.sh's weft_launch), which take PALS's -n, --ppn and --depth.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "plan/job_request.h"
#include "plan/shell_run.h"

namespace weft {

// A count on the command line. unknown: it is given, but not known before the job runs.
struct LaunchCount {
  std::optional<std::int64_t> value;
  std::string text;  // as it was given; empty: it was not
  bool unknown() const { return !text.empty() && !value; }
};

struct LaunchLine {
  RanCommand command;
  std::string launcher;      // "mpiexec"; empty: the program alone, a single rank
  bool by_function = false;  // which knows the machine's dialect itself
  LaunchCount ranks, per_node, nodes, depth, threads;  // threads: OMP_NUM_THREADS
  bool own_hosts = false;  // --hostfile: it need not use all of the job's nodes
  std::string hosts;       // what that names
  bool binds = false;
  std::vector<std::string> options;  // of the launcher, without their values
  std::vector<std::string> program;  // and its arguments
  std::optional<std::size_t> weft;   // the place of weft in `program`

  std::optional<std::int64_t> rank_count, ranks_per_node;  // resolved by resolve_launch
};

// The launches among what a script runs; also weft without a launcher.
std::vector<LaunchLine> launches_of(const ShellRun& run);

// Fills rank_count and ranks_per_node from what the launch and the job say.
void resolve_launch(LaunchLine& launch, const JobRequest& request);

// Options of a launcher that another one has; empty: it is its own, or one of none.
std::string foreign_dialect(const std::string& option, LauncherDialect own);
std::string dialect_name(LauncherDialect dialect);

}  // namespace weft
