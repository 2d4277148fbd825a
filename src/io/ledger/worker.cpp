#include "io/ledger/worker.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <random>

#include "core/check.h"
#include "core/log.h"
#include "io/files.h"
#include "io/ledger/ledger_files.h"
#include "io/lock_owner.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using lock_owner::Owner;

std::string new_name() {
  return fmt::format("{:08x}{:08x}", std::random_device()(), std::random_device()());
}

// A line, and a heartbeat that its owner keeps counting: a copy of the line has none.
bool has_heartbeat(const std::string& content) {
  return lock_owner::first_line(content).size() + 1 < content.size();
}

bool same_file(const fs::path& a, const fs::path& b) {
  struct stat first {
  }, second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

}  // namespace

Worker::Worker(const fs::path& ledger, const std::string& what, const LockTimes& times)
    : ledger_(ledger),
      what_(what),
      times_(times),
      lock_(ledger / kFolder / new_name(), what, times),
      file_(lock_.file()) {}

Worker::~Worker() {
  for (const auto& [name, held] : std::map(held_))
    if (held) give_back(name);
}

bool Worker::holds(const std::string& name) const {
  const auto content = read_if_there(ledger_ / kClaims / name);
  return content && content->find(token()) != std::string::npos;
}

// False where another has it.
bool Worker::link_claim(const std::string& name) const {
  const fs::path claim = ledger_ / kClaims / name;
  if (::link(file_.c_str(), claim.c_str()) == 0) return true;
  const int reason = errno;
  // Over NFS the answer may be lost after the link was made.
  if (reason == EEXIST) return same_file(file_, claim);
  if (reason == EPERM || reason == EOPNOTSUPP || reason == ENOSYS || reason == EMLINK)
    return write_new_file(claim, lock_owner::line_of_this(token()));
  file_failure(what_, "cannot be claimed", reason);
}

// A copy of an owner's line has no heartbeat to watch: of those only the owner's own host can tell.
bool Worker::is_left(const std::string& content) {
  const Owner owner = lock_owner::look_for(content);
  if (owner != Owner::unknown || !has_heartbeat(content)) return owner == Owner::gone;
  const auto now = std::chrono::steady_clock::now();
  Watch& watch = watched_[lock_owner::first_line(content)];
  if (watch.content != content) watch = {content, now};
  return now - watch.since > std::chrono::duration<double>(times_.watch_s);
}

// Moves a claim that was judged left out of the way. Where somebody was quicker, what was moved is
// theirs and goes back; should a third have come between, two workers do the same, and only one
// result of a block counts.
bool Worker::take_from(const std::string& name, const std::string& judged) const {
  const fs::path claim = ledger_ / kClaims / name,
                 aside = ledger_ / kClaims / fmt::format("{}.{}.left", name, token());
  if (::rename(claim.c_str(), aside.c_str()) != 0) return false;
  const auto content = read_if_there(aside);
  const bool was_it = content && lock_owner::first_line(*content) == lock_owner::first_line(judged);
  if (!was_it && ::link(aside.c_str(), claim.c_str()) != 0 && errno != EEXIST)
    log_warning("{}: the claim {} of {} is lost", what_, name,
                content ? lock_owner::name_of(*content) : "somebody");
  ::unlink(aside.c_str());
  return was_it;
}

bool Worker::claim(const std::string& name) {
  bool mine = link_claim(name);
  if (!mine) {
    const auto content = read_if_there(ledger_ / kClaims / name);
    mine = !content ? link_claim(name)
                    : is_left(*content) && take_from(name, *content) && link_claim(name);
  }
  if (mine) held_[name] = true;
  return mine;
}

void Worker::give_back(const std::string& name) {
  held_.erase(name);
  if (holds(name)) ::unlink((ledger_ / kClaims / name).c_str());
}

bool Worker::any_lives(const fs::path& ledger) {
  std::error_code error;
  for (fs::directory_iterator at(ledger / kFolder, error), end; !error && at != end;
       at.increment(error)) {
    const auto content = read_if_there(at->path() / FolderLock::kName);
    if (content && lock_owner::look_for(*content) == Owner::lives) return true;
  }
  return false;
}

}  // namespace weft
