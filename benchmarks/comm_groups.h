// The groups of ranks whose collectives `weft bench comm` measures, and what a bandwidth is.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/bench.h"
#include "machine/bandwidth.h"

namespace weft {

// busbw of algbw, which is size over time, of n ranks (nccl-tests, doc/PERFORMANCE.md):
//   all_reduce                   2 (n - 1) / n
//   all_gather, reduce_scatter   (n - 1) / n, the size being that of all ranks' parts together
//   broadcast, send and recv     1
// so that busbw is what a link carries, whatever n. Of one rank nothing moves: 0 (broadcast: 1).
double bus_factor(std::string_view collective, int n);

std::vector<std::int64_t> sizes_up_to(std::int64_t max_bytes);  // 8, 64, 512, …, max_bytes

struct Group {
  std::string name;
  Communicator* ranks;
  GroupPlace place;
  bool sends;  // from each rank to the next one
};

// All ranks' waits for one another by MPI, between what is measured. On GPUs a rank that does not
// come within --comm-timeout ends the run by name, as in the collectives themselves.
class Meetings {
 public:
  explicit Meetings(const Grid& grid);
  ~Meetings();
  Meetings(const Meetings&) = delete;
  Meetings& operator=(const Meetings&) = delete;
  void barrier();
  void all_reduce(View x, ReduceOp op);  // in host memory

 private:
  std::shared_ptr<void> watched(CollectiveCall call);
  const Grid& grid_;
  int group_ = -1;  // of the watch, where there is one
};

// The world, the grid's groups, those of a host and those of one rank a host; without those of one
// rank and those that are the world again. On a GPU they move its memory. Making and ending them
// are collective.
class Groups {
 public:
  explicit Groups(const BenchRun& run);
  const std::vector<Group>& all() const { return all_; }

 private:
  void add(const char* name, Communicator& ranks, int size, bool sends);
  // For device memory, where the run is on a GPU.
  std::unique_ptr<Communicator> linked(std::unique_ptr<Communicator> ranks, const char* name) const;
  const BenchRun& run_;
  std::vector<int> host_of_;  // of each rank
  std::unique_ptr<Communicator> world_, node_, across_;
  std::vector<Group> all_;
};

}  // namespace weft
