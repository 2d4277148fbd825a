// Generates continuations of many prompts at once: each in pages of the cache, those of finished
// ones given to the next (continuous batching). Every rank of a replica runs the same loop; the
// next tokens are chosen on one rank and shared, so ranks cannot drift apart.
#pragma once

#include <functional>
#include <optional>

#include "core/check.h"
#include "infer/sampler.h"
#include "infer/statistics.h"
#include "model/inference/pass.h"
#include "text/tokenizer.h"

namespace weft {

struct GenerationRequest {
  std::vector<std::int32_t> ids;  // the prompt, one token or more
  Generation options;
  std::uint64_t stream = 0;   // of its draws: draw_stream()
  std::string name = "";      // what errors call it: "prompt 3"
  std::int64_t n_likely = 0;  // likeliest tokens that are told beside each that is chosen
};

struct Completion {
  std::vector<std::int32_t> ids;  // new ones, an end token included
  std::vector<float> logprobs;
  std::string finish;  // eos, length, stop, time
  double score = 0;    // beam search: what ranks the results
  std::string error;   // why there is none: a sentence with the request's name; else empty
};

// A token as it is chosen; what it refers to lives as long as the call that tells of it.
struct ChosenToken {
  std::int32_t id = 0;
  float logprob = 0;                         // 0 unless the request wants logprobs
  std::span<const LikelyToken> likely = {};  // as many as n_likely asks for, and V has
};

// What a running engine is told between two passes, the same on every rank of the replica.
struct EngineOrders {
  std::vector<GenerationRequest> begin;  // numbered on from those before them
  std::vector<std::size_t> drop;         // numbers of those that nobody waits for any more
  bool end = false;                      // here and now, whatever is under way
};

struct EngineLimits {
  std::int64_t max_batch = 32;  // continuations at once
  std::int64_t max_rows = 512;  // rows of one pass: longer prompts are fed in pieces
  std::int64_t memory_bytes =
      0;  // of this rank's cache, activations and scratch at most; 0: whatever it takes
  DType weights = DType::f32;    // as matrices are held; an Engine knows
  std::optional<DType> kv = {};  // of cached keys and values; empty: the activations'
};

// Texts that a request has under way at once: its beams, or the one and what guidance leads away
// from.
std::int64_t lanes_of(const GenerationRequest& request);
// The text that guidance leads away from, as it begins; empty without guidance.
std::vector<std::int32_t> guidance_text(const GenerationRequest& request);

// Pages of the cache that a request can come to hold, all of its texts together.
std::int64_t most_pages(const ModelConfig& config, const GenerationRequest& request);

// What a run of the requests will hold: as many continuations as max_batch and memory allow, and
// pages for what they need, not for so many of the longest. Collective over a replica; a UserError
// where not even one continuation fits.
InferenceShape plan_inference(const Context& ctx, const ModelConfig& config,
                              std::span<const GenerationRequest> requests,
                              const EngineLimits& limits);

// The same for requests that come while it runs: as many continuations as max_batch, with pages for
// the whole context of each or, where memory holds fewer, of one at least.
InferenceShape plan_serving(const Context& ctx, const ModelConfig& config,
                            const EngineLimits& limits);

// Whether a run of this shape can hold the request.
bool fits(const ModelConfig& config, const InferenceShape& shape, const GenerationRequest& request);

// A loaded model and what runs it.
struct EngineModel {
  const Context& ctx;
  const ModelConfig& config;
  const Parameters& parameters;
  const Tokenizer* tokenizer;  // may be null when no request has stop strings
};

class Engine {
 public:
  // tokenizer may be null when no request has stop strings.
  Engine(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
         const Tokenizer* tokenizer, EngineLimits limits = {}, EngineWatch watch = {});

  // Called on every rank of the replica as continuations finish, in the order in which they do.
  // `sample`: 0; with beams 0 to num_return_sequences - 1, best first, with an error for those that
  // do not exist.
  using Done = std::function<void(std::size_t request, std::int64_t sample, const Completion&)>;
  // Called likewise as tokens are chosen, the end token included; not with beams, whose texts are
  // certain only at the end.
  using Token = std::function<void(std::size_t request, const ChosenToken&)>;
  // Collective over a replica. `token` may be empty. What fails in planning and choosing (too
  // little memory, logits that are not finite) is thrown on every rank of the replica.
  void run(std::span<const GenerationRequest> requests, const Done& done, const Token& token = {});
  // Likewise, but such a failure is the result, so that the ranks of all replicas can agree on it.
  std::optional<Failure> try_run(std::span<const GenerationRequest> requests, const Done& done,
                                 const Token& token = {});
  // What plan_serving() gives for its limits. Collective over a replica.
  InferenceShape serving_shape() const;
  // For a run whose requests come one at a time, like `next` and ever longer, as in a conversation:
  // room for twice as many tokens (1024 at least), up to the model's context, or for `next` alone
  // where memory holds no more. Collective over a replica; a UserError where it does not hold that.
  InferenceShape growing_shape(const GenerationRequest& next) const;
  // Asked before each pass; `idle`: nothing is under way, so that it may take its time.
  using Feed = std::function<EngineOrders(bool idle)>;
  // Until the feed ends it, or a failure of choosing. What is fed fits() the shape. Collective over
  // a replica.
  std::optional<Failure> serve(const InferenceShape& shape, const Feed& feed, const Done& done,
                               const Token& token = {});
  std::int64_t passes() const { return passes_; }  // through the model, of the last run

 private:
  EngineModel model_;
  EngineLimits limits_;
  EngineWatch watch_;
  std::int64_t passes_ = 0;
};

}  // namespace weft
