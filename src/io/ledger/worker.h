// A process that works on a ledger, and what it has claimed there for itself. Claims are names in
// one folder, each made by link(2) of the worker's own lock, so that a claim shows its owner and
// its owner's heartbeat (io/lock.h): they can be told from those of workers that are gone, from
// every host that shares the file system.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

#include "io/lock.h"

namespace weft {

class Worker {
 public:
  // `what` names the ledger in errors. Not collective. Errors: a file system that cannot lock.
  Worker(const std::filesystem::path& ledger, const std::string& what, const LockTimes& times = {});
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();  // gives its claims back

  const std::string& token() const { return lock_.token(); }

  // Makes the claim this worker's where nobody has it, or who has it is gone. Whether it is this
  // worker's now. Errors: the folder is gone, or cannot be written.
  bool claim(const std::string& name);
  bool holds(const std::string& name) const;
  void give_back(const std::string& name);

  static constexpr const char* kFolder = "workers";
  static constexpr const char* kClaims = "claims";
  // Whether somebody works on the ledger, as far as can be told without watching.
  static bool any_lives(const std::filesystem::path& ledger);

 private:
  bool link_claim(const std::string& name) const;
  bool is_left(const std::string& content);
  bool take_from(const std::string& name, const std::string& judged) const;

  // Of an owner on another host: since when its heartbeat has not changed.
  struct Watch {
    std::string content;
    std::chrono::steady_clock::time_point since;
  };

  std::filesystem::path ledger_;
  std::string what_;
  LockTimes times_;
  FolderLock lock_;
  std::filesystem::path file_;            // the lock's own
  std::map<std::string, Watch> watched_;  // by who it is
  std::map<std::string, bool> held_;
};

}  // namespace weft
