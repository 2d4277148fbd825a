#include "cli/texts/job_progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "core/log.h"
#include "core/system/deadline.h"

namespace weft {
namespace {

constexpr int kWidth = 24;  // of the bar

}  // namespace

JobProgress::JobProgress(std::int64_t n_texts)
    : n_texts_(n_texts),
      terminal_(::isatty(STDERR_FILENO) == 1),
      begun_(Clock::now()),
      shown_(begun_) {}

JobProgress::~JobProgress() { clear(); }

double JobProgress::seconds() const {
  return std::max(1e-3, std::chrono::duration<double>(Clock::now() - begun_).count());
}

void JobProgress::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void JobProgress::show(std::int64_t texts_done, std::int64_t tokens) {
  const auto now = Clock::now();
  const auto every = terminal_ ? std::chrono::milliseconds(200) : std::chrono::seconds(10);
  if (now - shown_ < every) return;
  shown_ = now;
  if (!terminal_) return log_info("{} of {} texts are done", texts_done, n_texts_);
  const double share =
      static_cast<double>(texts_done) / static_cast<double>(std::max<std::int64_t>(n_texts_, 1));
  const auto full = static_cast<std::size_t>(share * kWidth);
  std::string line = fmt::format("\r\033[K[{}{}] {} of {} texts, {:.0f} tokens/s",
                                 std::string(full, '#'), std::string(kWidth - full, '.'),
                                 texts_done, n_texts_, static_cast<double>(tokens) / seconds());
  if (share > 0) line += fmt::format(", {} left", duration_text(seconds() * (1 / share - 1)));
  std::fputs(line.c_str(), stderr);
  drawn_ = true;
}

void JobProgress::end(std::int64_t texts_done, std::int64_t tokens) {
  clear();
  if (!terminal_) return;
  log_info("{} of {} texts, {} tokens in {} ({:.1f} tokens/s)", texts_done, n_texts_, tokens,
           duration_text(seconds()), static_cast<double>(tokens) / seconds());
}

}  // namespace weft
