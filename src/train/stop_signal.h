// SIGTERM (the queue's warning before the walltime), SIGUSR1 and SIGINT (Ctrl-C) ask a run to stop
// at the next safe point. Further signals change nothing.
#pragma once

namespace weft {

class StopSignal {
 public:
  StopSignal();   // installs the handlers
  ~StopSignal();  // puts the old ones back, unless a signal came: then the program is about to end
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool received() const;
};

}  // namespace weft
