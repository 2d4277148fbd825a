// The lines that a conversation's user writes: those of rank 0's stdin, on every rank.
#pragma once

#include <optional>
#include <string>

#include "comm/communicator.h"
#include "core/system/stop_signal.h"

namespace weft {

class ChatLines {
 public:
  // Where stdin is a terminal Ctrl-C ends what is under way from here on, not the process.
  // Collective over the world, which must outlive it.
  ChatLines(Communicator& world, Stream& stream);

  bool terminal() const { return terminal_; }  // whether somebody sits there; the same everywhere
  // None at the end. In a terminal Ctrl-C throws away what is typed, and twice in a row is
  // Interrupted on all ranks. Collective over the world.
  std::optional<std::string> next();
  // Whether Ctrl-C came since; rank 0 alone hears it. Local.
  bool interrupted() { return signal_ && signal_->take(); }

 private:
  enum class Read : std::uint8_t { line, end, interrupt };
  Read read(std::string& line);
  Read read_typed(std::string& line);

  Communicator& world_;
  Stream& stream_;
  bool terminal_ = false;
  std::optional<InterruptSignal> signal_;  // rank 0's, in a terminal
  std::string typed_;                      // and not yet taken
};

}  // namespace weft
