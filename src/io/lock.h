// A folder that belongs to one process at a time, among all hosts that share its file system.
//
// The lock is a file in it that names its owner (host, process, the process's start, boot) and
// counts its owner's heartbeats. It is made by link(2), which NFS and Lustre do once or not at
// all. Whether an owner lives is asked of /proc on its own host; seen from another host it lives
// where its heartbeat changes while one watches. No clock of two hosts is ever compared.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace weft {

struct LockTimes {
  double wait_s = 4;    // for an owner that lives: ranks outlive a killed launcher by a second
  double watch_s = 60;  // for a heartbeat of an owner on another host
  double beat_s = 5;    // between two heartbeats
};

class FolderLock {
 public:
  // Takes the folder, and makes it where it is missing; an owner that is gone is named in a
  // warning. Not collective, as all of this: one process of a run takes it. `what` names the folder
  // in errors ("--out runs/a"). UserError: it is in use. Error: it cannot be locked.
  FolderLock(const std::filesystem::path& folder, const std::string& what,
             const LockTimes& times = {});
  // Gives it back, and removes the folder where it was made here and nothing came into it.
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  // Error where another process has taken the folder: it held this one for dead.
  void check() const;

  const std::filesystem::path& file() const { return file_; }
  const std::string& token() const { return token_; }  // that no other lock has
  // Whether the folder, as this process sees it, is locked under this token.
  static bool is_held(const std::filesystem::path& folder, const std::string& token);

  static constexpr const char* kName = "run.lock";

 private:
  bool create(const std::filesystem::path& name);
  bool take_over(const std::string& judged);
  void acquire();
  void make_folders();
  void remove_strays() const;
  bool is_mine(const std::string& content) const;
  void beat();
  void beat_until_stopped();

  std::filesystem::path folder_, file_;
  std::string what_;
  LockTimes times_;
  std::string token_;
  std::string content_;  // the file's first line, which names its owner
  std::int64_t beats_ = 0;
  int process_;  // a child of fork() does not own what its parent locked
  std::vector<std::filesystem::path> made_;  // folders, outermost first
  std::atomic<bool> lost_ = false;
  int stop_[2] = {-1, -1};  // a pipe: a byte in it ends the heartbeat
  std::thread heart_;
};

}  // namespace weft
