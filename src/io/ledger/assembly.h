// OUT, put together from the blocks of its ledger: by one process at a time, each block once.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "io/ledger/ledger.h"

namespace weft {

// Of the whole job, whichever runs served it.
struct AssembledTotals : RecordTotals {
  std::int64_t blocks = 0, texts = 0, bytes = 0, rejects_bytes = 0;
};

class Assembly {
 public:
  // unordered: blocks are written as they are done, else in the order of the input. The ledger
  // outlives it.
  Assembly(Ledger& ledger, bool unordered);
  ~Assembly();
  Assembly(const Assembly&) = delete;
  Assembly& operator=(const Assembly&) = delete;

  // Writes what can be written, where nobody else does; the disk is told once a second. `open`:
  // this process's blocks, of which OUT's next results are written as they come; n_results: how
  // many a text has, -1 where nobody knows yet. Whether this process is the one that writes.
  // Errors: OUT cannot be written.
  struct Front {
    const OpenBlock* block;
    const std::vector<std::int64_t>* n_results;
  };
  bool advance(const std::vector<Front>& open);
  // Whether every block stands in OUT, by this process's hand.
  bool is_whole() const { return (mine_ || finished_) && totals_.blocks == n_blocks_; }

  // OUT is whole: puts OUT.manifest.json in the place of the ledger. `job`: the batch job that this
  // process is in. Where there is no result OUT goes.
  void finish(const std::string& job);
  const AssembledTotals& totals() const { return totals_; }  // where this process writes
  // Of the whole job, by any worker; rejects do not count.
  bool has_results();
  // Removes the ledger, unless another run works on it.
  void withdraw();

  // The job stops: what is known of the blocks that are not in OUT yet is written there too, over
  // gaps, unless another process writes. Whoever goes on writes that anew. What the job has in all.
  AssembledTotals write_rest();

 private:
  bool take();
  void look();
  void append(std::size_t block);
  void stream(const Front& front);
  void settle();
  void truncate();
  AppendedFile& rejects();

  Ledger& ledger_;
  bool unordered_;
  bool mine_ = false, finished_ = false;
  std::int64_t n_blocks_;
  AssembledTotals totals_;
  std::vector<bool> assembled_;
  std::size_t front_ = 0;      // the first block that is not in OUT
  std::int64_t streamed_ = 0;  // bytes of the front block that are
  RecordPlace next_ = {0, 0};  // of the front block, what comes next
  // Blocks that are in OUT, and their lines of the journal, before the disk knows.
  std::vector<std::size_t> unsettled_;
  std::string unsettled_lines_;
  std::chrono::steady_clock::time_point settled_ = std::chrono::steady_clock::now();
  std::optional<AppendedFile> out_, rejects_, journal_;  // while this process writes
};

}  // namespace weft
