#include "io/lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <random>

#include "core/check.h"
#include "core/log.h"
#include "io/files.h"
#include "io/lock_owner.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using namespace lock_owner;

constexpr const char* kGuard = "run.lock.taking";  // held while a lock changes hands
constexpr int kBeatDigits = 20;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void sleep_s(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

// Whole content, nothing where the file is not there. `reason`: why it cannot be read.
std::optional<std::string> read_small(const fs::path& file, int& reason) {
  reason = 0;
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno != ENOENT && errno != ESTALE) reason = errno;
    return std::nullopt;
  }
  std::string content(4096, '\0');
  const ssize_t n = ::pread(fd, content.data(), content.size(), 0);
  if (n < 0 && errno != ESTALE) reason = errno;
  const bool read = n >= 0;
  ::close(fd);
  content.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  return read ? std::optional(content) : std::nullopt;
}

std::string with_beats(const std::string& line, std::int64_t beats) {
  return fmt::format("{}\n{:0{}}\n", line, beats, kBeatDigits);
}

// A new file of this content, or the reason why not.
int write_new(const fs::path& file, const std::string& content) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return errno;
  const ssize_t n = ::write(fd, content.data(), content.size());
  int reason = n == static_cast<ssize_t>(content.size()) ? 0 : n < 0 ? errno : ENOSPC;
  if (reason == 0 && ::fsync(fd) != 0) reason = errno;
  ::close(fd);
  if (reason != 0) ::unlink(file.c_str());
  return reason;
}

// No signal is this thread's to take: the program's handlers run on its main thread.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

FolderLock::FolderLock(const fs::path& folder, const std::string& what, const LockTimes& times)
    : folder_(folder),
      file_(folder / kName),
      what_(what),
      times_(times),
      token_(fmt::format("{:08x}{:08x}", std::random_device()(), std::random_device()())),
      process_(::getpid()) {
  content_ = line_of_this(token_);
  make_folders();
  CHECK_MACHINE(::pipe2(stop_, O_CLOEXEC) == 0, "{}: cannot be locked ({})", what_,
                std::strerror(errno));
  acquire();
  remove_strays();
  const SignalsBlocked blocked;
  heart_ = std::thread([this] { beat_until_stopped(); });
}

FolderLock::~FolderLock() {
  const bool ours = ::getpid() == process_;
  if (ours && ::write(stop_[1], "x", 1) == 1)
    heart_.join();
  else
    heart_.detach();  // in a child: threads stay with the parent
  for (const int end : stop_) ::close(end);
  if (!ours) return;
  int reason = 0;
  const auto content = read_small(file_, reason);
  if (content && is_mine(*content)) ::unlink(file_.c_str());
  for (auto folder = made_.rbegin(); folder != made_.rend(); ++folder) ::rmdir(folder->c_str());
}

void FolderLock::make_folders() {
  std::vector<fs::path> missing;
  std::error_code error;
  for (fs::path at = fs::absolute(folder_).lexically_normal(); !fs::exists(at, error);
       at = at.parent_path()) {
    if (error && error != std::errc::no_such_file_or_directory &&
        error != std::errc::not_a_directory)
      file_failure(what_, "the folder cannot be looked at", error.value());
    if (at.has_filename()) missing.push_back(at);
    if (at == at.parent_path()) break;
  }
  for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
    if (::mkdir(at->c_str(), 0777) == 0)
      made_.push_back(*at);
    else if (errno != EEXIST)
      file_failure(what_, "the folder cannot be made", errno);
  }
  if (!fs::is_directory(folder_, error)) file_failure(what_, "is a file, not a folder", EEXIST);
}

bool FolderLock::is_mine(const std::string& content) const {
  return first_line(content) == content_;
}

// Makes `name` as this process's, at once and whole. False where there is one.
bool FolderLock::create(const fs::path& name) {
  const fs::path beside = folder_ / fmt::format("{}.{}.tmp", kName, token_);
  int reason = write_new(beside, with_beats(content_, 0));
  if (reason != 0) file_failure(what_, "the folder cannot be locked", reason);
  int linked = ::link(beside.c_str(), name.c_str()) == 0 ? 0 : errno;
  struct stat status {};
  // Over NFS the answer may be lost after the link was made: two names say that it was.
  if (linked != 0 && ::stat(beside.c_str(), &status) == 0 && status.st_nlink == 2) linked = 0;
  ::unlink(beside.c_str());
  if (linked == EPERM || linked == EOPNOTSUPP || linked == ENOSYS || linked == EMLINK)
    linked = write_new(name, with_beats(content_, 0));  // where there are no links
  if (linked == 0) return true;
  // Another's start may have swept up what lay beside: then simply again.
  if (linked != EEXIST && linked != ENOENT)
    file_failure(what_, "the folder cannot be locked", linked);
  return false;
}

void FolderLock::acquire() {
  const double begin = now_s();
  double watched_since = begin;
  std::string watched;
  bool beats = false;
  while (!create(file_)) {
    int reason = 0;
    const auto content = read_small(file_, reason);
    if (reason != 0) file_failure(what_, "its lock cannot be read", reason);
    if (!content) continue;
    if (first_line(*content) != first_line(watched)) {
      beats = false;
      watched_since = now_s();
    } else if (*content != watched) {
      beats = true;
    }
    watched = *content;
    Owner owner = look_for(*content);
    if (owner == Owner::unknown)
      owner = beats                                      ? Owner::lives
              : now_s() - watched_since > times_.watch_s ? Owner::gone
                                                         : Owner::unknown;
    if (owner == Owner::gone) {
      if (!take_over(*content)) continue;
      log_warning("{}: was locked by {}, which is gone; it is this run's now", what_,
                  name_of(*content));
      return;
    }
    CHECK_USER(owner == Owner::unknown || now_s() - begin < times_.wait_s,
               "{}: is in use by {}; wait for it to end, or choose another folder", what_,
               name_of(*content));
    sleep_s(0.2);
  }
}

// Puts this process's lock in place of the one judged dead, unless somebody else was quicker. The
// guard keeps two who judged alike apart; it is held for a moment only.
bool FolderLock::take_over(const std::string& judged) {
  const fs::path guard = folder_ / kGuard;
  if (!create(guard)) {
    int reason = 0;
    const auto before = read_small(guard, reason);
    sleep_s(1);
    const auto after = read_small(guard, reason);
    // Nobody needs a guard for so long: who made it died there.
    if (before && after && *before == *after && look_for(*after) != Owner::lives)
      ::unlink(guard.c_str());
    return false;
  }
  int reason = 0;
  const auto content = read_small(file_, reason);
  bool taken = content && *content == judged;
  if (taken) {
    const fs::path beside = folder_ / fmt::format("{}.{}.tmp", kName, token_);
    reason = write_new(beside, with_beats(content_, 0));
    if (reason == 0 && ::rename(beside.c_str(), file_.c_str()) != 0) reason = errno;
    taken = reason == 0;
  }
  ::unlink(guard.c_str());
  if (reason != 0) file_failure(what_, "the folder cannot be locked", reason);
  return taken;
}

void FolderLock::remove_strays() const {
  std::error_code error;
  for (fs::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with(fmt::format("{}.", kName)) && name.ends_with(".tmp"))
      ::unlink(at->path().c_str());
  }
}

void FolderLock::check() const {
  CHECK(!lost_, "{}: another process took it for left and locked it; nothing more is written here",
        what_);
  int reason = 0;
  const auto content = read_small(file_, reason);
  CHECK(!content || is_mine(*content), "{}: is locked by {} now; nothing more is written here",
        what_, content ? name_of(*content) : "");
}

bool FolderLock::is_held(const fs::path& folder, const std::string& token) {
  int reason = 0;
  const auto content = read_small(folder / kName, reason);
  return content && first_line(*content).find(token) != std::string::npos;
}

// A beat that fails (a full disk, a server that is away) is missed, no more: the next may not be.
void FolderLock::beat() {
  const int fd = ::open(file_.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  std::string content(4096, '\0');
  const ssize_t n = ::pread(fd, content.data(), content.size(), 0);
  content.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
  if (n > 0 && !is_mine(content)) {
    lost_ = true;
  } else if (n > 0) {
    const std::string digits = fmt::format("{:0{}}", ++beats_, kBeatDigits);
    if (::pwrite(fd, digits.data(), digits.size(), static_cast<off_t>(content_.size() + 1)) > 0)
      ::fsync(fd);
  }
  ::close(fd);
}

void FolderLock::beat_until_stopped() {
  pollfd stop = {stop_[0], POLLIN, 0};
  for (;;) {
    const int n = ::poll(&stop, 1, static_cast<int>(1000 * times_.beat_s));
    if (n > 0) return;
    if (n == 0) beat();
  }
}

}  // namespace weft
