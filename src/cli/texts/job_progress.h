// How far a job of texts is: a bar on a terminal, elsewhere a line every ten seconds.
#pragma once

#include <chrono>
#include <cstdint>

namespace weft {

class JobProgress {
 public:
  // Of so many texts; on stderr. Rank 0's alone.
  explicit JobProgress(std::int64_t n_texts);
  ~JobProgress();  // a bar that is there goes
  JobProgress(const JobProgress&) = delete;
  JobProgress& operator=(const JobProgress&) = delete;

  // tokens: read and made by this run so far.
  void show(std::int64_t texts_done, std::int64_t tokens);
  // The bar gives way to what was done; on a terminal alone.
  void end(std::int64_t texts_done, std::int64_t tokens);

 private:
  using Clock = std::chrono::steady_clock;
  double seconds() const;
  void clear();

  std::int64_t n_texts_;
  bool terminal_, drawn_ = false;
  Clock::time_point begun_, shown_;
};

}  // namespace weft
