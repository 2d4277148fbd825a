#include "io/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <string>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "io/files.h"

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
    CHECK_MACHINE(in.good(), "{}: the run log cannot be read", file.string());
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
    CHECK_MACHINE(!error, "{}: the run log's unfinished last line cannot be cut off ({})",
                  file.string(), error.message());
    size_ = static_cast<std::int64_t>(whole);
  }
  file_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) file_failure(file, "the run log cannot be written", errno);
}

RunLog::RunLog(RunLog&& other) noexcept { *this = std::move(other); }

RunLog& RunLog::operator=(RunLog&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(size_, other.size_);
  std::swap(waiting_, other.waiting_);
  std::swap(failed_, other.failed_);
  return *this;
}

RunLog::~RunLog() {
  if (file_ >= 0) ::close(file_);
}

int RunLog::flush() {
  std::size_t done = 0;
  while (done < waiting_.size()) {
    const ssize_t n = ::write(file_, waiting_.data() + done, waiting_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int reason = n < 0 ? errno : ENOSPC;
      // Half a line would spoil what comes behind it.
      const std::size_t whole = done == 0 ? 0 : waiting_.rfind('\n', done - 1) + 1;
      size_ += static_cast<std::int64_t>(whole);
      waiting_.erase(0, whole);
      return ::ftruncate(file_, size_) == 0 ? reason : errno;
    }
    done += static_cast<std::size_t>(n);
  }
  size_ += static_cast<std::int64_t>(done);
  waiting_.clear();
  return 0;
}

void RunLog::write(const OrderedJson& line) {
  if (file_ < 0) return;
  constexpr std::size_t kMostWaiting = 64 << 20;
  // Generated text and file names need not be UTF-8; a log line must not end a run.
  waiting_ += json_text(line) + "\n";
  const int reason = flush();
  CHECK_MACHINE(reason == 0 || waiting_.size() < kMostWaiting, "{}: writing failed ({})",
                path_.string(), std::strerror(reason));
  if (reason != 0 && !failed_)
    log_warning("{}: cannot be written now ({}); its lines wait in memory", path_.string(),
                std::strerror(reason));
  failed_ = reason != 0;
}

void RunLog::finish() {
  if (file_ < 0) return;
  const int reason = flush();
  CHECK_MACHINE(reason == 0, "{}: writing failed ({})", path_.string(), std::strerror(reason));
}

void add_place(OrderedJson& line, const std::vector<std::string>& hosts, int ranks,
               const RunTime& time) {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%FT%TZ", &utc);
  line["time"] = text;
  line["hosts"] = hosts;
  line["nodes"] = hosts.size();
  line["ranks"] = ranks;
  if (!time.job) return;
  OrderedJson& job = line["job"];
  job = {{"scheduler", time.job->scheduler}, {"id", time.job->id}, {"queue", time.job->queue}};
  if (!time.job->account.empty()) job["account"] = time.job->account;
  if (time.job->walltime_s) job["walltime_s"] = *time.job->walltime_s;
}

}  // namespace weft
