// From logits to the next token: transformers' processors in transformers' order, then the choice
// of kernels/ops.h, sample().
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"
#include "infer/choice/warpers.h"
#include "infer/options.h"
#include "infer/processors.h"

namespace weft {

// Names a continuation's random numbers: by its prompt and how many copies of it came before, so
// that a text does not depend on what else a run holds.
std::uint64_t draw_stream(std::span<const std::int32_t> prompt, std::int64_t copy);
// A number in [0, 1), of 53 bits; it depends on its arguments alone.
double draw(std::int64_t seed, std::uint64_t stream, std::int64_t position,
            std::uint32_t which = 0);

// What the model says of the next token, and what it says without the prompt where g is guided.
struct NextLogits {
  std::span<const float> row;                 // (V)
  std::span<const float> unconditional = {};  // (V); empty: not guided

  NextLogits(std::span<const float> logits, std::span<const float> without_prompt = {})
      : row(logits), unconditional(without_prompt) {}
  NextLogits(const std::vector<float>& logits) : row(logits) {}
};

// Reusable buffers of one vocabulary. The stream, the CPU's, outlives it.
class Sampler {
 public:
  explicit Sampler(Stream& stream) : stream_(stream) {}

  struct Choice {
    std::int32_t id;
    float logprob;  // of the model itself: log softmax of the raw logits
  };

  // `seen`: prompt and new tokens so far, n_prompt of them the prompt. The draw depends on (seed,
  // stream, position) alone. Logits are those of the next token; they are not changed. Nothing
  // where every token is forbidden. An Error where logits are NaN or +inf, or all -inf, and g does
  // not take such.
  std::optional<Choice> choose(const NextLogits& logits, const Generation& g,
                               std::span<const std::int32_t> seen, std::int64_t n_prompt,
                               std::uint64_t stream);

  // The scores (V) after all processors, and the warpers where g samples: of the logits, or of
  // their log softmax in beam search. All -inf: every token is forbidden. Errors as choose().
  std::span<const float> process(const NextLogits& logits, const Generation& g,
                                 std::span<const std::int32_t> seen, std::int64_t n_prompt);

  // Softmax of the scores (V), one of which at least is above -inf.
  std::span<const double> probabilities() { return warpers_.probabilities(scores_); }

 private:
  // The scores after all but the warpers; whether any token is left.
  bool process_raw(const NextLogits& logits, const Generation& g,
                   std::span<const std::int32_t> seen, std::int64_t n_prompt);
  void guide(std::span<const float> unconditional, double scale);
  void warp(const Generation& g);
  View view_of_scores();

  Stream& stream_;
  std::vector<float> scores_;
  Processors processors_;
  Warpers warpers_;
};

// Whether tokens can be chosen by them: none is NaN or +inf and not all are -inf. A -inf among them
// is a token that the model never writes.
bool are_logits(std::span<const float> row);

// log of the sum of exp(x); x is not empty.
double log_sum_exp(std::span<const float> x);
// log softmax of the logits at one token: the logit less log_sum_exp.
float log_probability(std::span<const float> logits, std::int32_t id);
// The same, to the bit, of a token of each row of logits (N, V) in the host's memory; the stream is
// the CPU's.
std::vector<float> log_probabilities(ConstView logits, std::span<const std::int32_t> ids,
                                     Stream& stream);

struct LikelyToken {
  std::int32_t id = -1;
  float logprob = 0;  // log softmax of the model's own logits
};

// The k likeliest of the logits (V), best first, of equal ones the lower id; fewer where V is less.
// `sum`: log_sum_exp of them.
std::vector<LikelyToken> likely_tokens(std::span<const float> logits, double sum, std::int64_t k);

}  // namespace weft
