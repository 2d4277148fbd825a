#include "train/stop_signal.h"

#include <csignal>

namespace weft {
namespace {

volatile std::sig_atomic_t stop_received = 0;
struct sigaction old_term, old_usr1;

void on_signal(int) { stop_received = 1; }

}  // namespace

StopSignal::StopSignal() {
  stop_received = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, &old_term);
  sigaction(SIGUSR1, &action, &old_usr1);
}

StopSignal::~StopSignal() {
  if (received())
    return;  // a second signal must not end the program while it is on its way to exit code 3
  sigaction(SIGTERM, &old_term, nullptr);
  sigaction(SIGUSR1, &old_usr1, nullptr);
}

bool StopSignal::received() const { return stop_received != 0; }

}  // namespace weft
