#include "train/stop_signal.h"

#include <csignal>
#include <iterator>

namespace weft {
namespace {

volatile std::sig_atomic_t stop_received = 0;
constexpr int kSignals[] = {SIGTERM, SIGUSR1, SIGINT};
struct sigaction old_actions[std::size(kSignals)];

void on_signal(int) { stop_received = 1; }

}  // namespace

StopSignal::StopSignal() {
  stop_received = 0;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < std::size(kSignals); ++i)
    sigaction(kSignals[i], &action, &old_actions[i]);
}

StopSignal::~StopSignal() {
  if (received())
    return;  // a second signal must not end the program while it is on its way to exit code 3
  for (std::size_t i = 0; i < std::size(kSignals); ++i)
    sigaction(kSignals[i], &old_actions[i], nullptr);
}

bool StopSignal::received() const { return stop_received != 0; }

}  // namespace weft
