// A signal asks to stop, once and for all, and touches no memory but its own.
#include "core/system/stop_signal.h"

#include <gtest/gtest.h>

#include <csignal>

namespace weft {
namespace {

TEST(StopSignal, ItsHandlerHasAStackOfItsOwn) {
  const StopSignal stop;
  EXPECT_FALSE(stop.received());
  stack_t stack{};
  ASSERT_EQ(sigaltstack(nullptr, &stack), 0);
  EXPECT_EQ(stack.ss_flags & SS_DISABLE, 0);
  EXPECT_GE(stack.ss_size, 32768u);  // twice and more what AMX's registers take
  for (const int signal : {SIGTERM, SIGUSR1, SIGINT}) {
    struct sigaction now {};
    sigaction(signal, nullptr, &now);
    EXPECT_NE(now.sa_flags & SA_ONSTACK, 0) << signal;
    EXPECT_NE(now.sa_flags & SA_RESTART, 0) << signal;
  }
  std::raise(SIGUSR1);
  EXPECT_TRUE(stop.received());
  std::raise(SIGTERM);
  EXPECT_TRUE(StopSignal().received());  // what came is not forgotten
}

TEST(InterruptSignal, IsTakenOnce) {
  InterruptSignal interrupt;
  EXPECT_FALSE(interrupt.take());
  std::raise(SIGINT);
  std::raise(SIGINT);
  EXPECT_TRUE(interrupt.take());
  EXPECT_FALSE(interrupt.take());
  struct sigaction now {};
  sigaction(SIGINT, nullptr, &now);
  EXPECT_NE(now.sa_flags & SA_ONSTACK, 0);
}

}  // namespace
}  // namespace weft
