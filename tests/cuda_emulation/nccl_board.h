// What the ranks of an emulated NCCL group show one another: files in shared memory, since nothing
// may depend on MPI being called meanwhile. Each rank writes its own places alone, and again only
// when all that were to read them have.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace weft::emulation {

// A call as another rank must make it too.
struct NcclCall {
  char name[20] = {};  // "all_reduce"
  std::int32_t dtype = 0, op = 0, root = 0;
  std::uint64_t bytes = 0;
};

class NcclBoard {
 public:
  static constexpr int kMostRanks = 16;

  static std::string make();  // a new one's name, of at most 127 characters
  NcclBoard(const std::string& name, int rank, int size);  // joins
  ~NcclBoard();
  NcclBoard(const NcclBoard&) = delete;
  NcclBoard& operator=(const NcclBoard&) = delete;

  // False until all have joined.
  bool is_complete();
  int lost_rank() const;  // of whose process there is nothing left; -1: none

  // Collectives, counted from 1. A payload may be shown when all have read this rank's last one,
  // and read when the rank has shown it.
  bool all_have_read(std::uint64_t call) const;
  void show(std::uint64_t call, const NcclCall& what, const void* payload, std::size_t bytes);
  bool all_have_shown(std::uint64_t call) const;
  const NcclCall& shown(int rank) const;
  void read(int rank, void* to, std::size_t bytes, std::size_t from = 0) const;
  void have_read(std::uint64_t call);

  // Messages from one rank to another, counted likewise.
  bool is_received(int to, std::uint64_t message) const;
  void send(int to, std::uint64_t message, const void* payload, std::size_t bytes);
  bool is_sent(int from, std::uint64_t message) const;
  std::size_t sent_bytes(int from) const;
  void receive(int from, std::uint64_t message, void* to, std::size_t bytes);

 private:
  struct Shared;
  int file_of(int from, int to);  // to -1: of what all read

  std::string name_;
  int rank_, size_;
  Shared* shared_ = nullptr;
  std::map<std::pair<int, int>, int> files_;
  bool complete_ = false;
};

}  // namespace weft::emulation
