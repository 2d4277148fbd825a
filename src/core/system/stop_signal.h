// What signals ask of a process. Handlers stay for as long as it lives.
#pragma once

namespace weft {

// SIGTERM (the queue's warning before the walltime), SIGUSR1 and SIGINT (Ctrl-C) ask a run to stop
// at the next safe point. Further signals change nothing, nor do any on the way out: a run that is
// done must not end as one that was killed.
class StopSignal {
 public:
  StopSignal();  // installs the handlers
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool received() const;
};

// SIGINT (Ctrl-C) in a conversation: it ends what is under way, not the process. It interrupts
// poll(), and no other call.
class InterruptSignal {
 public:
  InterruptSignal();  // installs the handler
  InterruptSignal(const InterruptSignal&) = delete;
  InterruptSignal& operator=(const InterruptSignal&) = delete;
  bool take();  // whether one came since it was last asked
};

}  // namespace weft
