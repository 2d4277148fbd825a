// SIGTERM (the queue's warning before the walltime), SIGUSR1 and SIGINT (Ctrl-C) ask a run to stop
// at the next safe point. Further signals change nothing, nor do any on the way out: a run that is
// done must not end as one that was killed.
#pragma once

namespace weft {

class StopSignal {
 public:
  StopSignal();  // installs the handlers, for as long as the process lives
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool received() const;
};

}  // namespace weft
