// What a generation job did, as Batch counts it in every pass: for the run log (--log).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "comm/grid.h"

namespace weft {

// Seconds in buckets one per cent apart (1 us to a day): percentiles of any number of times in a
// few kilobytes, and those of several ranks add up.
class TimeHistogram {
 public:
  TimeHistogram();
  void add(double seconds);
  std::int64_t count() const;
  // The time that the share `q` (0 to 1) of all times does not pass, within half a per cent; 0
  // where there are none.
  double quantile(double q) const;
  void add_over_ranks(Communicator& world, Stream& stream);  // collective

 private:
  std::vector<std::int64_t> counts_;
};

// Sums over passes; those of several runs and of several replicas add up.
struct GenerationCounts {
  std::int64_t requests = 0;       // done
  std::int64_t prompt_tokens = 0;  // of requests that were begun
  std::int64_t new_tokens = 0;     // of a beam search those of its results alone
  std::int64_t passes = 0, rows = 0;
  std::int64_t slots_used = 0, slots = 0;  // continuations under way, in each pass
  std::int64_t cached = 0,
               cache_rows = 0;   // tokens in the cache after each pass, and room for them
  std::int64_t shared_rows = 0;  // tokens that texts see there in pages of others
  // Tokens that texts found in the cache instead of reading them, and texts that gave their pages
  // to an older one and were read again.
  std::int64_t shared_tokens = 0, preemptions = 0;
  std::int64_t most_pages = 0;  // held at once; of several replicas the sum of each one's most
  // What a pass must read: the weights once, without the head where no logits are wanted, and the
  // keys and values before each of its texts' rows. Sums over tensor-parallel and pipeline ranks.
  std::int64_t streamed_bytes = 0;
  // Of passes on a GPU: how many were launched as a graph, and how often one was captured.
  std::int64_t graph_launches = 0, graph_captures = 0;
};

struct EngineStatistics {
  GenerationCounts counts;
  // From the moment a request is given its pages (the prompt begins to be read) to its first token;
  // what it waited for them before is no part of it.
  TimeHistogram first_token;
  TimeHistogram queue;        // from a run's begin, or since it was fed, to that moment
  TimeHistogram inter_token;  // between a request's tokens, passes that read prompts included

  double occupancy() const;     // mean share of slots in use over passes
  double cache_use() const;     // mean share of the cache's rows in use
  double cache_shared() const;  // of the tokens that texts see in it, share that sharing saves
};

// Those of all replicas together, each replica's as its first rank has them. Collective over the
// grid; the same everywhere.
EngineStatistics over_replicas(const Grid& grid, EngineStatistics mine, Stream& stream);

// Who listens to an engine's runs; either may be empty.
struct EngineWatch {
  EngineStatistics* statistics = nullptr;  // added to
  // After each pass that chose tokens, `elapsed_s` after the run's begin: the same number on all
  // ranks of the replica, so that it may be collective over it.
  std::function<void(double elapsed_s)> after_pass = nullptr;
};

}  // namespace weft
