#include "comm/run_time.h"

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "comm/agreement.h"
#include "core/log.h"

namespace weft {
namespace {

constexpr double kPatience_s = 10;  // a busy server answers late, or never

RunTime ask_all(const std::string& walltime) {
  RunTime time;
  const auto take = [&](const Deadline& deadline) {
    if (deadline.left_s() < time.deadline.left_s()) time.deadline = deadline;
  };
  if (!walltime.empty())
    take(Deadline(checked_walltime(walltime) - process_elapsed_s(), "--walltime " + walltime));
  const AskProgram ask = [](const auto& command) { return ask_program(command, kPatience_s); };
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  };
  for (const BatchJob& job : find_batch_jobs(std::getenv, ask, now)) {
    if (job.left_s)
      take(Deadline(*job.left_s, job.source));
    else
      log_warning("{} job {}: when it ends is not known ({}); --walltime T says it", job.scheduler,
                  job.id, job.failure);
    if (!time.job) time.job = job;
  }
  if (time.deadline.is_known()) log_info("the time ends {}", time.deadline.text());
  return time;
}

}  // namespace

RunTime find_run_time(Communicator& world, Stream& stream, const std::string& walltime) {
  RunTime time;
  on_first_rank(world, stream, [&] { time = ask_all(walltime); });
  const bool known =
      world.all_reduce_value<std::int32_t>(time.deadline.is_known(), ReduceOp::max, stream) != 0;
  if (!known) return time;
  const std::string source = gather_texts(world, time.deadline.source(), stream)[0];
  double left = time.deadline.left_s();
  world.broadcast(View(&left, Dims{1}), 0, stream);
  if (world.rank() != 0) time.deadline = Deadline(left, source);
  return time;
}

}  // namespace weft
