// Generates continuations of many prompts at once: a slot of the cache a continuation, filled as others finish (continuous batching).
// Every rank of a replica runs the same loop; the next tokens are chosen on one rank and shared, so ranks cannot drift apart.
#pragma once

#include <functional>

#include "infer/sampler.h"
#include "model/decoder.h"
#include "text/tokenizer.h"

namespace weft {

struct GenerationRequest {
  std::vector<std::int32_t> ids;  // the prompt, one token or more
  Generation options;
  std::uint64_t stream = 0;       // number of this continuation in the whole run, for the draws
};

struct Completion {
  std::vector<std::int32_t> ids;  // new ones, an end token included
  std::vector<float> logprobs;
  std::string finish;             // eos, length, stop, time
};

struct EngineLimits {
  std::int64_t max_batch = 32;   // continuations at once
  std::int64_t max_rows = 512;   // rows of one pass: longer prompts are fed in pieces
};

class Engine {
 public:
  // tokenizer may be null when no request has stop strings.
  Engine(const Context& ctx, const ModelConfig& config, const Parameters& parameters, const Tokenizer* tokenizer, EngineLimits limits = {});

  // Collective over a replica. `done` is called as each request finishes, in the order in which they do.
  void run(std::span<const GenerationRequest> requests, const std::function<void(std::size_t request, const Completion&)>& done);

 private:
  Context ctx_;
  const ModelConfig& config_;
  const Parameters& parameters_;
  const Tokenizer* tokenizer_;
  EngineLimits limits_;
};

}  // namespace weft
