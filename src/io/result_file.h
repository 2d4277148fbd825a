// Where a job's lines go: stdout, or a file that has its own name from the first line on.
#pragma once

#include <string>
#include <string_view>

namespace weft {

class ResultFile {
 public:
  // Empty: stdout. The file begins anew. Errors name it as the option --out does. UserErrors: a
  // folder is there, or none to hold it; Error: it cannot be written.
  explicit ResultFile(const std::string& out);
  ResultFile(const ResultFile&) = delete;
  ResultFile& operator=(const ResultFile&) = delete;
  ~ResultFile();
  // Whole lines: they are the system's before this returns, and stay whatever becomes of the job.
  // An Error where they cannot be written (a full disk).
  void write(std::string_view lines);
  void close();  // the lines are on the disk; an Error where they are not

 private:
  std::string name() const;
  std::string out_;
  int fd_ = -1;
};

}  // namespace weft
