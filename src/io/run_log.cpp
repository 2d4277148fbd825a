#include "io/run_log.h"

#include "core/check.h"

namespace weft {

RunLog::RunLog(const std::filesystem::path& file) : path_(file) {
  std::error_code error;
  if (std::filesystem::exists(file, error)) {
    const std::string text = read_text_file(file);
    if (!text.empty() && text.back() != '\n') {
      const std::size_t last = text.rfind('\n');
      std::filesystem::resize_file(file, last == std::string::npos ? 0 : last + 1);
    }
  }
  out_.open(file, std::ios::app | std::ios::binary);
  CHECK_USER(out_.good(), "{}: the run log cannot be written", file.string());
}

void RunLog::write(const OrderedJson& line) {
  if (!out_.is_open()) return;
  out_ << line.dump() << '\n' << std::flush;
  CHECK(out_.good(), "{}: writing the run log failed (is the disk full?)", path_.string());
}

}  // namespace weft
