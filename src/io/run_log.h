// The run log: one JSON object a line, appended as things happen and never rewritten, so that a
// killed run leaves every whole line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "comm/run_time.h"
#include "io/json.h"

namespace weft {

class RunLog {
 public:
  RunLog() = default;  // writes nothing: every rank but the first
  // Appends to the file (an empty path: writes nothing); a last line without its newline (a run
  // that was killed while writing) is cut off first.
  explicit RunLog(const std::filesystem::path& file);
  RunLog(RunLog&& other) noexcept;
  RunLog& operator=(RunLog&& other) noexcept;
  ~RunLog();
  // A line that cannot be written now (a full disk) is warned of, waits in memory, and is written
  // with the next. Error where too much waits.
  void write(const OrderedJson& line);
  void finish();  // Error where lines still wait

 private:
  int flush();  // 0, or why not

  std::filesystem::path path_;
  int file_ = -1;
  std::int64_t size_ = 0;  // of the file's whole lines
  std::string waiting_;
  bool failed_ = false;
};

// Where and when a run began, for its start line: time, hosts, nodes, ranks, and the job where it
// is in one.
void add_place(OrderedJson& line, const std::vector<std::string>& hosts, int ranks,
               const RunTime& time);

}  // namespace weft
