#include "comm/pass_limit.h"

#include <algorithm>
#include <utility>

#include "core/system/process.h"

namespace weft {
namespace {

enum class Why : std::int32_t { none, walltime, signal };

}  // namespace

PassLimit::PassLimit(Deadline deadline, bool signals) : deadline_(std::move(deadline)) {
  if (signals) signal_.emplace();
}

std::optional<Failure> PassLimit::ended(Communicator& group, Stream& stream) {
  const double now = process_elapsed_s();
  if (asked_s_ >= 0) slowest_s_ = std::max(slowest_s_, now - asked_s_);
  asked_s_ = now;
  Why why = Why::none;
  if (deadline_.left_s() <= 2 * slowest_s_ + 0.01 * deadline_.total_s()) why = Why::walltime;
  if (signal_ && signal_->received()) why = Why::signal;
  why = static_cast<Why>(
      group.all_reduce_value(static_cast<std::int32_t>(why), ReduceOp::max, stream));
  if (why == Why::none) return std::nullopt;
  if (why == Why::signal) return Failure{FailureKind::interrupted, "stopped by a signal"};
  return Failure{FailureKind::interrupted,
                 fmt::format("stopped by the walltime, {} before its end ({})",
                             duration_text(std::max(0.0, deadline_.left_s())), deadline_.source())};
}

}  // namespace weft
