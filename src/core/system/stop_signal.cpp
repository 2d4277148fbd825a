#include "core/system/stop_signal.h"

#include <csignal>
#include <initializer_list>

namespace weft {
namespace {

volatile std::sig_atomic_t stop_received = 0, interrupt_received = 0;

// oneDNN's matmuls put the stack pointer into a small workspace on the heap (seen with 2.6); what
// the kernel pushes for a handler, some 11 KB with AMX, would overwrite what lies below it.
// Signals to a process go to its first thread, which has this stack.
alignas(64) char handler_stack[1 << 16];

void on_signal(int) { stop_received = 1; }
void on_interrupt(int) { interrupt_received = 1; }

void handle(void (*handler)(int), std::initializer_list<int> signals) {
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof handler_stack;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (const int signal : signals) sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignal::StopSignal() { handle(on_signal, {SIGTERM, SIGUSR1, SIGINT}); }

bool StopSignal::received() const { return stop_received != 0; }

InterruptSignal::InterruptSignal() { handle(on_interrupt, {SIGINT}); }

// One that comes between the two lines is this one's.
bool InterruptSignal::take() {
  if (interrupt_received == 0) return false;
  interrupt_received = 0;
  return true;
}

}  // namespace weft
