// Beam search, as transformers does it: the bookkeeping of one prompt, free of ranks and caches.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "infer/continuation.h"
#include "infer/sampler.h"

namespace weft {

struct BeamCandidate {
  double score = 0;        // sum of processed log-probabilities
  std::int32_t beam = -1;  // the running beam that it continues; -1: none
  std::int32_t id = 0;
  float logprob = 0;  // of the model itself
};

class BeamSearch {
 public:
  struct Beam {
    Continuation text;
    double score = 0;
    std::string finish;  // empty while running
  };

  BeamSearch(Continuation prompt, const Generation& g, std::int64_t vocab);

  // The prompt at first, then num_beams of them: fewer where no more candidates can go on, more
  // again as soon as they can.
  std::span<const Beam> running() const { return running_; }
  std::int64_t n_candidates() const { return n_candidates_; }

  // The best candidates of all beams, or a draw of them without replacement, best first. logits: of
  // each running beam (V). Fewer than n_candidates() where most tokens are forbidden, none where
  // all are. Errors as Sampler::process.
  std::vector<BeamCandidate> choose(Sampler& sampler,
                                    std::span<const std::span<const float>> logits,
                                    std::uint64_t stream) const;

  // One step. `append` continues a text by a token and says what ends it, as append_token. The
  // result: parents[i] is the former beam that the i-th running one continues. Nothing when the
  // search is over: num_beams have finished and no better one is to be expected, or no text can go
  // on.
  using Append = std::function<std::string(Continuation&, const BeamCandidate&)>;
  std::vector<std::int32_t> advance(std::span<const BeamCandidate> candidates,
                                    const Append& append);

  // Ended beams, best first, num_beams at most: score / (new tokens ^ length_penalty).
  std::span<const Beam> finished() const { return finished_; }

 private:
  const Generation* g_;
  std::int64_t vocab_, n_prompt_, n_candidates_;
  std::vector<Beam> running_, finished_;
};

}  // namespace weft
