#include "io/run_log.h"

#include <algorithm>
#include <string>

#include "core/check.h"

namespace weft {
namespace {

// Where the last whole line ends. Read backwards: the log of a long run is large.
std::uintmax_t end_of_lines(const std::filesystem::path& file, std::uintmax_t size) {
  std::ifstream in(file, std::ios::binary);
  std::string block;
  for (std::uintmax_t end = size; end > 0;) {
    const std::uintmax_t begin = end - std::min<std::uintmax_t>(end, 4096);
    block.resize(static_cast<std::size_t>(end - begin));
    in.seekg(static_cast<std::streamoff>(begin));
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    CHECK_USER(in.good(), "{}: the run log cannot be read", file.string());
    const std::size_t last = block.rfind('\n');
    if (last != std::string::npos) return begin + last + 1;
    end = begin;
  }
  return 0;
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& file) : path_(file) {
  if (file.empty()) return;
  std::error_code error;
  if (std::filesystem::is_regular_file(file, error)) {
    const std::uintmax_t size = std::filesystem::file_size(file), whole = end_of_lines(file, size);
    if (whole != size) std::filesystem::resize_file(file, whole, error);
    CHECK_USER(!error, "{}: the run log's unfinished last line cannot be cut off ({})",
               file.string(), error.message());
  }
  out_.open(file, std::ios::app | std::ios::binary);
  CHECK_USER(out_.good(), "{}: the run log cannot be written", file.string());
}

void RunLog::write(const OrderedJson& line) {
  if (!out_.is_open()) return;
  // Generated text and file names need not be UTF-8; a log line must not end a run.
  out_ << line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) << '\n' << std::flush;
  CHECK_USER(out_.good(), "{}: writing the run log failed (is the disk full?)", path_.string());
}

}  // namespace weft
