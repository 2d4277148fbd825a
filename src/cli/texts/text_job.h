// A command's texts from a file and its results to one, as a job that any number of runs share and
// that goes on where it was stopped: the ledger (io/ledger/ledger.h) as the ranks of a run see it.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "cli/session.h"
#include "cli/texts.h"
#include "cli/texts/job_progress.h"
#include "io/ledger/assembly.h"

namespace weft {

// What a command asks of its job.
struct TextJobRules {
  TextWants wants = {};
  std::int64_t most = 1024, least = 8;  // texts of the first blocks (io/ledger/input_blocks.h)
  bool unordered = false;               // blocks are written as they are done
  std::function<ReadOptions(ReadOptions)> reading = nullptr;  // what the options say, changed
};

// A block of texts that this replica serves, on all of its ranks.
class JobBlock {
 public:
  // On the first rank; elsewhere without its journal.
  explicit JobBlock(OpenBlock open);

  const std::vector<Document>& documents() const { return open_.texts.documents; }
  // Whether a document has this result already, or is rejected: by whoever had the block before.
  bool has(std::size_t document, std::int64_t result) const;
  bool is_rejected(std::size_t document) const { return has_record(place(document), 'x'); }

 private:
  friend class TextJob;
  bool has_record(std::int64_t place, char kind) const;
  std::int64_t place(std::size_t document) const { return places_[document]; }
  void note(std::int64_t place, std::int64_t n);

  OpenBlock open_;
  std::vector<std::int64_t> places_;           // of the documents among the block's texts, by line
  std::vector<std::int64_t> rejected_places_;  // of the records that cannot be read
  std::vector<std::int64_t> n_results_;        // by place, once it is known; -1 before
  std::vector<std::int64_t> n_missing_;        // of those
  std::int64_t n_open_ = 0;                    // texts that are not whole
};

class TextJob {
 public:
  // Whether a command with these texts and results works as a job: both are files. Results that go
  // to F.h5 are lines in F.jsonl, and arrays there when those are whole (io/result_arrays.h).
  static bool serves(const TextOptions& options);

  // Begins the job, or joins it. `what`: the command, whose options `fields` visits. Collective
  // over the world. UserErrors: those of begin_or_join and of the input.
  TextJob(Session& session, const Invocation& invocation, const std::string& what,
          const VisitFields& fields, const TextOptions& texts, const TextJobRules& rules);

  std::int64_t n_texts() const { return n_texts_; }
  std::int64_t n_results() const { return n_results_; }   // as far as it is known beforehand
  bool is_alone() const { return workers_.size() == 1; }  // in this run

  // The next block for this replica, those that cannot be read rejected. `wait`: while other runs
  // have all that are left, waits for them to end or to be gone; without, and in the end, nothing.
  // Interrupted where the time is over. Collective over the replica.
  std::shared_ptr<JobBlock> next(bool wait);

  // On every rank of the replica alike: how many results a document will have.
  void expect(JobBlock& block, std::size_t document, std::int64_t n_results);
  // Likewise a result, a line that only the first rank need give; empty where there is none after
  // all. It is kept whatever becomes of this process; the block ends with its last one.
  void put(JobBlock& block, std::size_t document, std::int64_t result, const std::string& line,
           const JobWork& work);
  // Likewise why the document has no results.
  void reject(JobBlock& block, std::size_t document, const std::string& reason);

  JobWork work() const { return work_; }  // of this replica

  // The job's end, or this run's, whatever that `ended` with, alike on the ranks of a replica: rank
  // 0 waits until OUT is whole, by this run or another, and the log gets its last line. Throws what
  // the run ended with; UserError where texts were rejected. Collective over the world.
  void finish(const std::optional<Failure>& ended, JobLog& log);

 private:
  enum class Found : std::int64_t { block, wait, none, failed };
  void begin(const Invocation& invocation, const std::string& what, const VisitFields& fields);
  Found look(std::optional<OpenBlock>& block, Failure& failure);
  std::shared_ptr<JobBlock> take(Found& found);
  void record(JobBlock& block, std::int64_t place, std::int64_t result, BlockRecord record);
  void end_block(JobBlock& block);
  void write(bool now);
  std::int64_t texts_done() const;
  void wait_until_whole();
  void write_arrays() const;
  void end_together(const std::optional<Failure>& ended);
  bool leads() const { return session_.grid.replica().rank() == 0; }

  Session& session_;
  TextOptions texts_;  // its --out: the lines
  std::filesystem::path
      arrays_;  // what --out says where that is an .h5: from the lines, when whole
  TextJobRules rules_;
  ReadOptions how_;
  std::string what_;  // "--out o.jsonl"
  bool done_ = false;
  std::int64_t n_texts_ = 0, n_results_ = 0;
  std::optional<Ledger> ledger_;         // of each replica's first rank
  std::optional<Assembly> assembly_;     // rank 0's
  std::optional<JobProgress> progress_;  // likewise
  std::vector<std::string> workers_;     // of this run: their tokens
  std::vector<std::shared_ptr<JobBlock>> open_;
  JobWork work_;
  std::chrono::steady_clock::time_point written_{};
};

}  // namespace weft
