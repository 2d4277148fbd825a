// Results of a job in the order of its items, whichever replica made them.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "cli/session.h"
#include "io/result_file.h"

namespace weft {

// Why a job ended, as the run log calls it: walltime, signal, failed.
std::string end_reason(const Failure& failure);

// Rank 0 writes each item as soon as those before it are there; other replicas send it theirs as
// they come.
class ResultWriter {
 public:
  // To a file or stdout (empty). Collective.
  ResultWriter(const Session& session, const std::string& out, std::size_t n_items);
  // To `write`, which is called with each item in turn, on rank 0.
  using Write = std::function<void(std::size_t item, const std::string& text)>;
  ResultWriter(const Session& session, Write write, std::size_t n_items);
  ResultWriter(const ResultWriter&) = delete;
  ResultWriter& operator=(const ResultWriter&) = delete;
  bool mine() const;  // whether this rank gives its replica's results
  // On ranks where mine(). What cannot be written ends the job at once; what was written stays.
  // `done`: what it took, for --log; an item is one where it has a text.
  void put(std::size_t item, std::string text, const JobWork& done = {});
  // Of all replicas, as far as rank 0 has heard; of this one on others.
  JobWork work() const;
  // Collective. All results that there are are taken. What the job ended with before all were done,
  // the same on every rank: `ended` is what this replica did. Interrupted says how many there are;
  // behind a gap they are written too, but where a write function wants each in turn.
  // The log gets its last line.
  [[nodiscard]] std::optional<Failure> finish(const std::optional<Failure>& ended, JobLog& log);

 private:
  // Item, or none when the sender has no more, and size of the text that follows.
  struct Header {
    std::uint64_t item = 0, size = 0;
    JobWork work;  // of the sender so far
  };
  // A message under way, kept until it has arrived.
  struct Outgoing {
    Header header;
    std::string text;
    std::unique_ptr<Transfer> sends[2];
  };
  // A replica whose results rank 0 awaits.
  struct Source {
    int rank = 0;
    bool ended = false, has_header = false;
    Header header;
    JobWork work;
    std::string text;
    std::unique_ptr<Transfer> transfer;
  };

  void find_sources();
  void send(std::uint64_t item, std::string text);
  void receive(Source& source, bool wait);
  void take_all(const std::optional<Failure>& ended);
  void flush();          // throws what a write failed of
  void flush_rest();     // over the gaps
  void flush_quietly();  // keeps it as failure_

  const Session& session_;
  Stream stream_;
  JobWork work_;  // of this replica
  std::vector<std::optional<std::string>> items_;
  std::size_t printed_ = 0;
  std::int64_t n_done_ = 0;         // written, rejected ones not counted
  std::optional<ResultFile> file_;  // rank 0's
  Write write_;
  std::optional<Failure> failure_;  // of the first write that failed
  std::deque<Outgoing> outgoing_;
  std::vector<Source> sources_;
};

}  // namespace weft
