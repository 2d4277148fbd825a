#include "core/system/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

extern char** environ;

namespace weft {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

double boot_clock_s() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Seconds from boot to a process's begin: the 22nd word of its stat, whose second may hold spaces.
std::optional<double> begin_after_boot_s(const std::string& pid) {
  std::ifstream in("/proc/" + pid + "/stat");
  std::string line;
  std::getline(in, line);
  const std::size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream words(line.substr(name_end + 1));
  std::string word;
  for (int i = 3; i <= 22; ++i)
    if (!(words >> word)) return std::nullopt;
  const double ticks = std::strtod(word.c_str(), nullptr);
  return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Both ends of a pipe, and the reading one closed at the end.
struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0) ends[0] = ends[1] = -1;
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(int i) {
    if (ends[i] >= 0) ::close(ends[i]);
    ends[i] = -1;
  }
};

// In a group of its own, so that what it starts can be ended with it. 0, or the errno.
int spawn(const std::vector<std::string>& command, const Pipe& out, pid_t& child) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out.ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_t how;
  posix_spawnattr_init(&how);
  posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP);
  const int error = posix_spawnp(&child, words[0], &files, &how, words.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  return error;
}

// Until the end of what is printed, or of the time. Whether it came to the end.
bool read_until(int fd, std::string& text, Clock::time_point begin, double timeout_s) {
  constexpr std::size_t kMost = 1 << 20;
  char block[4096];
  for (;;) {
    const double left = timeout_s - since(begin);
    pollfd waits = {.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = left <= 0 ? 0 : ::poll(&waits, 1, static_cast<int>(1e3 * left) + 1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return false;
    const ssize_t n = ::read(fd, block, sizeof block);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n == 0;
    text.append(block, std::min(static_cast<std::size_t>(n), kMost - text.size()));
  }
}

// The child's wait status; -1 where it has not ended in the time.
int wait_until(pid_t child, Clock::time_point begin, double timeout_s) {
  for (;;) {
    int status = -1;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return status;
    if ((ended < 0 && errno != EINTR) || since(begin) > timeout_s) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace

double process_elapsed_s() {
  static const double begin = begin_after_boot_s("self").value_or(boot_clock_s());
  return boot_clock_s() - begin;
}

std::optional<double> process_age_s(int pid) {
  const auto begin = begin_after_boot_s(std::to_string(pid));
  return begin ? std::optional(boot_clock_s() - *begin) : std::nullopt;
}

ProgramAnswer ask_program(const std::vector<std::string>& command, double timeout_s) {
  const Clock::time_point begin = Clock::now();
  ProgramAnswer answer;
  Pipe out;
  if (out.ends[0] < 0) return {"", std::strerror(errno)};
  pid_t child = 0;
  if (const int error = spawn(command, out, child); error != 0)
    return {"", error == ENOENT ? "not found" : std::strerror(error)};
  out.close_end(1);
  const bool whole = read_until(out.ends[0], answer.text, begin, timeout_s);
  const int status = whole ? wait_until(child, begin, timeout_s) : -1;
  if (status == -1) {
    ::kill(-child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    answer.failure = fmt::format("no answer in {} s", timeout_s);
  } else if (WIFSIGNALED(status)) {
    answer.failure = fmt::format("ended by signal {}", WTERMSIG(status));
  } else if (WEXITSTATUS(status) != 0) {
    answer.failure = fmt::format("ended with {}", WEXITSTATUS(status));
  }
  return answer;
}

}  // namespace weft
