// A job script as its scheduler reads it: the directives before the first command, taken apart into
// options, and what looks like a directive but is none.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "machine/machine.h"

namespace weft {

// An option of a directive. PBS: "A", "l", …; Slurm: its long name, "account", "nodes", ….
struct JobOption {
  std::string name, value;
  int line = 0;
  bool takes_value = true;
};

// A line, or a word of one, that is not what it looks like.
struct JobOddity {
  int line = 0;
  std::string text;
};

struct JobScript {
  std::string file, text;                    // text: without carriage returns
  SchedulerKind kind = SchedulerKind::none;  // whose directives it has; none: of neither
  std::string first_line;                    // "#!/bin/bash -l"
  bool carriage_returns = false, byte_order_mark = false;
  int first_command = 0;  // 0: there is none
  int last_line = 1;
  std::vector<JobOption> options;
  std::vector<JobOddity> late;      // directives behind the first command
  std::vector<JobOddity> near;      // lines that are nearly directives: "# PBS -q debug"
  std::vector<JobOddity> glued;     // "#PBS-q debug"
  std::vector<JobOddity> comments;  // behind a directive
  std::vector<JobOddity> stray;     // words of a directive that belong to no option
  std::vector<JobOddity> equals;    // "-A=biology"; the option is there without the sign
  std::vector<JobOddity> foreign;   // another scheduler's directives

  const JobOption* find(const std::string& name) const;  // the last of that name; null: none
  bool has_directives() const { return !options.empty() || !stray.empty(); }
};

// `wanted`: the scheduler that is to read it. Here-documents are not told from other lines.
JobScript read_job_script(const std::string& file, std::string text, SchedulerKind wanted);

// "#PBS" or "#SBATCH"
std::string directive_prefix(SchedulerKind kind);

}  // namespace weft
