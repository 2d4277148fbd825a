#include "train/progress.h"

#include <unistd.h>

#include <cstdio>

#include "core/log.h"

namespace weft {

ProgressLine::ProgressLine(bool speaks) : speaks_(speaks), terminal_(isatty(2) != 0) {}
ProgressLine::~ProgressLine() { break_line(); }

void ProgressLine::show(const StepReport& r) {
  if (!speaks_) return;
  const auto now = std::chrono::steady_clock::now();
  const double interval = terminal_ ? 0.2 : 10.0;
  const bool due =
      std::chrono::duration<double>(now - last_).count() >= interval || r.step == r.steps;
  if (!due) return;
  last_ = now;
  std::string shares;
  for (std::size_t i = 0; i < kTimeShares; ++i)
    if (r.shares[i] >= 0.005)
      shares += fmt::format(" {} {:.0f}%", kTimeShareNames[i], 100 * r.shares[i]);
  const std::string line = fmt::format(
      "step {}/{}  loss {:.4f}  grad {:.3g}  lr {:.2e}  {:.0f} tok/s  {:.0f}% of peak |{}", r.step,
      r.steps, r.result.loss, r.result.grad_norm, r.lr, r.tokens_per_s(), 100 * r.speed.peak_share,
      shares);
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
    open_ = true;
  } else {
    log_info("{}", line);
  }
}

void ProgressLine::break_line() {
  if (!open_) return;
  std::fputc('\n', stderr);
  open_ = false;
}

}  // namespace weft
