// What a request asks about its prompts themselves: log-probabilities of their tokens (echo with
// logprobs), or their vectors. They are read beside the engine.
#pragma once

#include <functional>
#include <optional>

#include "infer/text_pass.h"
#include "serve/work.h"

namespace weft {

struct ReadingModel {
  const Context& ctx;
  const ModelConfig& config;
  const Parameters& parameters;
};

// Events of the kinds prompt and vector, on every rank alike. Returns what went wrong, alike too.
// Collective over a replica.
std::optional<Failure> read_prompts_of(const ServedRequest& request, const ReadingModel& model,
                                       const std::function<void(WorkEvent)>& give);

}  // namespace weft
