// The run log: one JSON object a line, appended as things happen and never rewritten, so that a
// killed run leaves every whole line.
#pragma once

#include <filesystem>
#include <fstream>

#include "io/json.h"

namespace weft {

class RunLog {
 public:
  RunLog() = default;  // writes nothing: every rank but the first
  // Appends to the file (an empty path: writes nothing); a last line without its newline (a run
  // that was killed while writing) is cut off first.
  explicit RunLog(const std::filesystem::path& file);
  void write(const OrderedJson& line);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
};

}  // namespace weft
