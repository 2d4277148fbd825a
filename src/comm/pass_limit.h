// Asked between the passes of a job that serves texts: whether it must stop where it is, by a
// signal or because the time is nearly over.
#pragma once

#include <optional>

#include "comm/communicator.h"
#include "core/check.h"
#include "core/system/deadline.h"
#include "core/system/stop_signal.h"

namespace weft {

class PassLimit {
 public:
  // `signals`: whether they stop the job; else they do what they did before.
  PassLimit(Deadline deadline, bool signals);

  void begin() { asked_s_ = -1; }  // passes begin: what was before the first is none
  // Interrupted where another pass must not begin: two of the slowest and a hundredth of all the
  // time would not fit any more. The same on all ranks of `group`; collective over it.
  std::optional<Failure> ended(Communicator& group, Stream& stream);

 private:
  Deadline deadline_;
  std::optional<StopSignal> signal_;
  double asked_s_ = -1, slowest_s_ = 0;
};

}  // namespace weft
