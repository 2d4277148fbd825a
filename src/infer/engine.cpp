#include "infer/engine.h"

#include <algorithm>
#include <utility>

#include "infer/batch.h"
#include "model/rope.h"

namespace weft {

InferenceShape plan_inference(const Context& ctx, const ModelConfig& config,
                              std::span<const GenerationRequest> requests,
                              const EngineLimits& limits) {
  InferenceShape shape;
  shape.act = ctx.act;
  std::int64_t wanted = 0, widest = 1, prompt_rows = 0;
  for (const GenerationRequest& r : requests) {
    const auto length = static_cast<std::int64_t>(r.ids.size()) + r.options.max_new_tokens;
    CHECK(!r.ids.empty() && length <= config.context, "a request of {} tokens for a context of {}",
          length, config.context);
    shape.S = std::max(shape.S, length);
    // A text that outgrows its rope regime is read again whole.
    prompt_rows += rope_regime(config, length) != 0 ? length * r.options.num_beams
                                                    : static_cast<std::int64_t>(r.ids.size());
    wanted += r.options.num_beams;
    widest = std::max(widest, r.options.num_beams);
  }
  Communicator& replica = ctx.grid.replica();
  for (std::int64_t slots = std::max(widest, std::min(limits.max_batch, wanted));;
       slots = std::max(widest, slots / 2)) {
    shape.slots = shape.max_logit_rows = slots;
    shape.max_rows = std::clamp(prompt_rows, slots, std::max(limits.max_rows, slots));
    if (!config.causal) shape.max_rows = std::max(shape.max_rows, shape.S);
    const std::size_t bytes = InferencePass::plan_bytes(config, ctx.grid, shape);
    const std::int32_t fits =
        limits.memory_bytes == 0 || bytes <= static_cast<std::size_t>(limits.memory_bytes);
    if (replica.all_reduce_value(fits, ReduceOp::min, ctx.stream)) return shape;
    const std::int64_t most =
        replica.all_reduce_value(static_cast<std::int64_t>(bytes), ReduceOp::max, ctx.stream);
    CHECK_USER(slots > widest,
               "{} of up to {} tokens need{} {:.2f} GB of keys, values and activations on a rank, "
               "more than is free on its host; ask for fewer "
               "tokens (--max-new-tokens) or give more hosts (--tp, --pp)",
               widest == 1 ? "one continuation" : fmt::format("{} beams", widest), shape.S,
               widest == 1 ? "s" : "", static_cast<double>(most) * 1e-9);
  }
}

Engine::Engine(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
               const Tokenizer* tokenizer, EngineLimits limits, EngineWatch watch)
    : model_{ctx, config, parameters, tokenizer}, limits_(limits), watch_(std::move(watch)) {}

std::optional<Failure> Engine::try_run(std::span<const GenerationRequest> requests,
                                       const Done& done, const Token& token) {
  passes_ = 0;
  if (requests.empty()) return std::nullopt;
  InferenceShape shape;
  std::optional<Failure> failure =
      failure_of([&] { shape = plan_inference(model_.ctx, model_.config, requests, limits_); });
  if (failure) return failure;
  Batch batch(model_, shape, requests, {done, token, watch_});
  failure = batch.run();
  passes_ = batch.passes();
  return failure;
}

void Engine::run(std::span<const GenerationRequest> requests, const Done& done,
                 const Token& token) {
  if (const auto failure = try_run(requests, done, token)) rethrow(*failure);
}

}  // namespace weft
