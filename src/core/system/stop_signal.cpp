#include "core/system/stop_signal.h"

#include <csignal>
#include <initializer_list>

namespace weft {
namespace {

volatile std::sig_atomic_t stop_received = 0;

// oneDNN's matmuls put the stack pointer into a small workspace on the heap (seen with 2.6); what
// the kernel pushes for a handler, some 11 KB with AMX, would overwrite what lies below it.
// Signals to a process go to its first thread, which has this stack.
alignas(64) char handler_stack[1 << 16];

void on_signal(int) { stop_received = 1; }

}  // namespace

StopSignal::StopSignal() {
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof handler_stack;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) sigaction(signal, &action, nullptr);
}

bool StopSignal::received() const { return stop_received != 0; }

}  // namespace weft
