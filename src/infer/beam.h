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

  std::span<const Beam> running() const {
    return running_;
  }  // num_beams of them; before the first step all are the prompt
  std::int64_t n_candidates() const { return n_candidates_; }

  // The best candidates of all beams, or a draw of them without replacement, best first. logits: of
  // each running beam (V); one row before the first step. May be fewer than n_candidates() where
  // most tokens are forbidden.
  std::vector<BeamCandidate> choose(Sampler& sampler,
                                    std::span<const std::span<const float>> logits,
                                    std::uint64_t stream) const;

  // One step. `append` continues a text by a token and says what ends it, as append_token. The
  // result: parents[i] is the former beam that the i-th running one continues. Nothing when the
  // search is over.
  using Append = std::function<std::string(Continuation&, const BeamCandidate&)>;
  std::vector<std::int32_t> advance(std::span<const BeamCandidate> candidates,
                                    const Append& append);

  // Ended beams, best first: score / (new tokens ^ length_penalty).
  std::span<const Beam> finished() const { return finished_; }

 private:
  const Generation* g_;
  std::int64_t vocab_, n_prompt_, n_candidates_;
  std::vector<Beam> running_, finished_;
};

}  // namespace weft
