#include "cli/chat_lines.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <iostream>

#include "core/check.h"

namespace weft {
namespace {

// A signal ends poll(), unless it comes just before.
constexpr int kLook_ms = 100;

}  // namespace

ChatLines::ChatLines(Communicator& world, Stream& stream) : world_(world), stream_(stream) {
  const bool here = world.rank() == 0 && ::isatty(STDIN_FILENO) == 1;
  if (here) signal_.emplace();
  terminal_ = world.all_reduce_value<std::int32_t>(here, ReduceOp::max, stream) != 0;
}

std::optional<std::string> ChatLines::next() {
  constexpr std::int64_t kEnd = -1, kInterrupt = -2;
  std::string line;
  std::int64_t size = kEnd;
  if (world_.rank() == 0) {
    const Read how = read(line);
    size = how == Read::line  ? static_cast<std::int64_t>(line.size())
           : how == Read::end ? kEnd
                              : kInterrupt;
  }
  world_.broadcast(View(&size, Dims{1}), 0, stream_);
  if (size == kInterrupt) throw Interrupted("stopped by a signal");
  if (size == kEnd) return std::nullopt;
  line.resize(static_cast<std::size_t>(size));
  if (size > 0)
    world_.broadcast(View(static_cast<void*>(line.data()), DType::u8, {size}), 0, stream_);
  return line;
}

ChatLines::Read ChatLines::read(std::string& line) {
  Read how = Read::line;
  if (!signal_) {
    if (!std::getline(std::cin, line)) how = Read::end;
  } else {
    for (int n = 0; n < 2; ++n) {
      std::fputs("> ", stderr);
      how = read_typed(line);
      if (how != Read::interrupt) break;
      typed_.clear();
      std::fputs(n == 0 ? "\n(/quit ends, as does Ctrl-C once more)\n" : "\n", stderr);
    }
    if (how == Read::end) std::fputs("\n", stderr);
  }
  if (line.ends_with('\r')) line.pop_back();
  return how;
}

// The terminal itself forgets an unfinished line at Ctrl-C.
ChatLines::Read ChatLines::read_typed(std::string& line) {
  for (;;) {
    if (const std::size_t end = typed_.find('\n'); end != std::string::npos) {
      line = typed_.substr(0, end);
      typed_.erase(0, end + 1);
      return Read::line;
    }
    if (signal_->take()) return Read::interrupt;
    pollfd wanted = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (::poll(&wanted, 1, kLook_ms) <= 0) continue;
    char bytes[4096];
    const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (n > 0) {
      typed_.append(bytes, static_cast<std::size_t>(n));
    } else if (n == 0 || errno != EINTR) {
      line = std::exchange(typed_, "");
      return line.empty() ? Read::end : Read::line;
    }
  }
}

}  // namespace weft
