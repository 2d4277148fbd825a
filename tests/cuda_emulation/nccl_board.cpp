#include "nccl_board.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

namespace weft::emulation {
namespace {

constexpr const char* kFolder = "/dev/shm";
constexpr const char* kPrefix = "weft_nccl_";

void succeed(bool did, const char* what) {
  if (!did) throw std::runtime_error(std::string("emulated NCCL: ") + what + " failed");
}

bool is_alive(pid_t pid) { return kill(pid, 0) == 0 || errno != ESRCH; }

// What processes left that were killed.
void tidy() {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, none)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    const pid_t pid = std::atoi(name.c_str() + std::string(kPrefix).size());
    if (pid > 0 && !is_alive(pid)) std::filesystem::remove(entry.path(), none);
  }
}

}  // namespace

struct NcclBoard::Shared {
  struct Place {
    std::atomic<std::uint64_t> shown, read;
    NcclCall call;
    std::atomic<pid_t> pid;
  };
  struct Message {
    std::atomic<std::uint64_t> sent, received, bytes;
  };
  std::atomic<int> joined, opened;
  Place places[kMostRanks];
  Message messages[kMostRanks][kMostRanks];
};

std::string NcclBoard::make() {
  static int made = 0;
  tidy();
  const std::string name = fmt::format("{}/{}{}_{}", kFolder, kPrefix, getpid(), made++);
  const int file = open(name.c_str(), O_CREAT | O_EXCL | O_RDWR, 0600);
  succeed(file >= 0 && ftruncate(file, sizeof(Shared)) == 0, "making a board");
  close(file);
  return name;
}

NcclBoard::NcclBoard(const std::string& name, int rank, int size)
    : name_(name), rank_(rank), size_(size) {
  succeed(size <= kMostRanks, "a group of so many ranks");
  const int file = open(name.c_str(), O_RDWR);
  succeed(file >= 0, "opening a board");
  void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  succeed(memory != MAP_FAILED, "mapping a board");
  shared_ = static_cast<Shared*>(memory);
  file_of(rank_, -1);
  for (int to = 0; to < size_; ++to) file_of(rank_, to);
  shared_->places[rank_].pid = getpid();
  ++shared_->joined;
}

NcclBoard::~NcclBoard() {
  for (const auto& [place, file] : files_) close(file);
  munmap(shared_, sizeof(Shared));
}

int NcclBoard::file_of(int from, int to) {
  int& file = files_.try_emplace({from, to}, -1).first->second;
  if (file >= 0) return file;
  const std::string path = fmt::format("{}_{}_{}", name_, from, to);
  file = open(path.c_str(), (from == rank_ ? O_CREAT : 0) | O_RDWR, 0600);
  succeed(file >= 0, "opening a payload");
  return file;
}

// The last to have opened all files takes their names away: nothing is left of a killed run.
bool NcclBoard::is_complete() {
  if (complete_) return true;
  if (shared_->joined < size_) return false;
  for (int from = 0; from < size_; ++from) {
    file_of(from, -1);
    file_of(from, rank_);
  }
  complete_ = true;
  if (++shared_->opened < size_) return true;
  unlink(name_.c_str());
  for (int from = 0; from < size_; ++from)
    for (int to = -1; to < size_; ++to) unlink(fmt::format("{}_{}_{}", name_, from, to).c_str());
  return true;
}

int NcclBoard::lost_rank() const {
  for (int r = 0; r < size_; ++r) {
    const pid_t pid = shared_->places[r].pid;
    if (pid > 0 && !is_alive(pid)) return r;
  }
  return -1;
}

bool NcclBoard::all_have_read(std::uint64_t call) const {
  return std::all_of(shared_->places, shared_->places + size_,
                     [&](const auto& p) { return p.read >= call; });
}

void NcclBoard::show(std::uint64_t call, const NcclCall& what, const void* payload,
                     std::size_t bytes) {
  succeed(pwrite(files_.at({rank_, -1}), payload, bytes, 0) == static_cast<ssize_t>(bytes),
          "writing a payload");
  shared_->places[rank_].call = what;
  shared_->places[rank_].shown = call;
}

bool NcclBoard::all_have_shown(std::uint64_t call) const {
  return std::all_of(shared_->places, shared_->places + size_,
                     [&](const auto& p) { return p.shown >= call; });
}

const NcclCall& NcclBoard::shown(int rank) const { return shared_->places[rank].call; }

void NcclBoard::read(int rank, void* to, std::size_t bytes, std::size_t from) const {
  succeed(pread(files_.at({rank, -1}), to, bytes, static_cast<off_t>(from)) ==
              static_cast<ssize_t>(bytes),
          "reading a payload");
}

void NcclBoard::have_read(std::uint64_t call) { shared_->places[rank_].read = call; }

bool NcclBoard::is_received(int to, std::uint64_t message) const {
  return shared_->messages[rank_][to].received >= message;
}

void NcclBoard::send(int to, std::uint64_t message, const void* payload, std::size_t bytes) {
  succeed(pwrite(files_.at({rank_, to}), payload, bytes, 0) == static_cast<ssize_t>(bytes),
          "writing a message");
  shared_->messages[rank_][to].bytes = bytes;
  shared_->messages[rank_][to].sent = message;
}

bool NcclBoard::is_sent(int from, std::uint64_t message) const {
  return shared_->messages[from][rank_].sent >= message;
}

std::size_t NcclBoard::sent_bytes(int from) const { return shared_->messages[from][rank_].bytes; }

void NcclBoard::receive(int from, std::uint64_t message, void* to, std::size_t bytes) {
  succeed(pread(files_.at({from, rank_}), to, bytes, 0) == static_cast<ssize_t>(bytes),
          "reading a message");
  shared_->messages[from][rank_].received = message;
}

}  // namespace weft::emulation
