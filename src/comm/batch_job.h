// The batch job that this process is in, and when it ends: told by what PBS and Slurm set in the
// environment of a job, and by what they answer when they are asked.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/launcher.h"
#include "core/system/process.h"

namespace weft {

struct BatchJob {
  std::string scheduler;           // "pbs", "slurm"
  std::string id, queue, account;  // queue and account may be empty
  std::optional<double> walltime_s;
  std::optional<double> left_s;  // until its end, when it was asked; negative: it is past
  std::string source;            // who said so: "PBS job 12 (qstat)"
  std::string failure;           // why its end is not known
};

// What a scheduler says of a job's time. Times of day are seconds since 1970.
struct JobTimes {
  std::optional<double> walltime_s, used_s, left_s, begin, end;
};

// What `qstat -f ID` prints (PBS, OpenPBS, Torque), with its continued lines.
JobTimes parse_qstat(std::string_view text);
// What `squeue -h -o "%l %L"` prints: limit and what is left.
JobTimes parse_squeue(std::string_view text);
// What `scontrol -o show job ID` prints.
JobTimes parse_scontrol(std::string_view text);
// Slurm's "59:30", "2:00:00", "1-00:00:00"; none of UNLIMITED, INVALID and the like.
std::optional<double> parse_slurm_time(std::string_view text);

// Seconds to a job's end. PBS counts used time from time to time alone, and a begin may be that of
// an earlier run of the job: the earliest end that is still to come, else the latest.
std::optional<double> left_of(const JobTimes& times, double now);

// Of a job within a job both are told, PBS's first. `ask` runs a program (core/system/process.h).
using AskProgram = std::function<ProgramAnswer(const std::vector<std::string>& command)>;
// Seconds since 1970. Read when a program has answered: it may take seconds, which are not left.
using WallClock = std::function<double()>;
std::vector<BatchJob> find_batch_jobs(const Environment& get, const AskProgram& ask,
                                      const WallClock& now);

}  // namespace weft
