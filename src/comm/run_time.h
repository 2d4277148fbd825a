// The time that a run has: the job it is in, and the earliest end that anybody names.
#pragma once

#include <optional>
#include <string>

#include "comm/batch_job.h"
#include "comm/communicator.h"
#include "core/system/deadline.h"

namespace weft {

struct RunTime {
  std::optional<BatchJob> job;  // rank 0's; the innermost, where they nest
  Deadline deadline;            // of every rank, as rank 0 was told
};

// Rank 0 asks the scheduler, which may take some seconds, and says on stderr what it was told.
// `walltime`: --walltime, or empty. Collective; UserError where it is no time.
RunTime find_run_time(Communicator& world, Stream& stream, const std::string& walltime);

}  // namespace weft
