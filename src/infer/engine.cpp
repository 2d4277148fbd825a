#include "infer/engine.h"

#include <algorithm>
#include <utility>

#include "infer/batch.h"
#include "model/rope.h"

namespace weft {

namespace {

constexpr std::int64_t kLeastGrowth = 1024;  // tokens: room from the start

std::int64_t most_tokens(const GenerationRequest& r) {
  return static_cast<std::int64_t>(r.ids.size()) + r.options.max_new_tokens;
}

// Of the text of guidance; 0 without.
std::int64_t most_guidance_tokens(const GenerationRequest& r) {
  const std::size_t n = guidance_text(r).size();
  return n == 0 ? 0 : static_cast<std::int64_t>(n) + r.options.max_new_tokens;
}

// No `slots` continuations of the requests can hold more: those that hold most, one beside another.
std::int64_t pages_at_once(const ModelConfig& config, std::span<const GenerationRequest> requests,
                           std::int64_t slots) {
  struct Need {
    std::int64_t pages, slots;
  };
  std::vector<Need> needs;
  for (const GenerationRequest& r : requests) needs.push_back({most_pages(config, r), lanes_of(r)});
  std::sort(needs.begin(), needs.end(),
            [](const Need& a, const Need& b) { return a.pages * b.slots > b.pages * a.slots; });
  std::int64_t pages = 0;
  for (const Need& n : needs) {
    const std::int64_t part = std::min(n.slots, slots);
    pages += (n.pages * part + n.slots - 1) / n.slots;
    slots -= part;
    if (slots == 0) break;
  }
  return pages;
}

}  // namespace

std::int64_t lanes_of(const GenerationRequest& r) {
  return r.options.num_beams + (r.options.guided() ? 1 : 0);
}

std::vector<std::int32_t> guidance_text(const GenerationRequest& r) {
  if (!r.options.guided()) return {};
  return r.options.negative_prompt.empty() ? std::vector{r.ids.back()} : r.options.negative_prompt;
}

// Beams share what is full of their prompt, unless it is read again.
std::int64_t most_pages(const ModelConfig& config, const GenerationRequest& r) {
  const std::int64_t all = pages_of(most_tokens(r));
  const std::int64_t shared = rope_regime(config, most_tokens(r)) != 0
                                  ? 0
                                  : static_cast<std::int64_t>(r.ids.size()) / kPageTokens;
  return shared + r.options.num_beams * (all - shared) + pages_of(most_guidance_tokens(r));
}

InferenceShape plan_inference(const Context& ctx, const ModelConfig& config,
                              std::span<const GenerationRequest> requests,
                              const EngineLimits& limits) {
  InferenceShape shape = {
      .act = ctx.act, .weights = limits.weights, .device = ctx.stream.device(), .kv = limits.kv};
  std::int64_t wanted = 0, widest = 1, prompt_rows = 0, least_pages = 1;
  bool guided = false;  // the widest
  for (const GenerationRequest& r : requests) {
    const std::int64_t length = std::max(most_tokens(r), most_guidance_tokens(r));
    CHECK(!r.ids.empty() && length <= config.context, "a request of {} tokens for a context of {}",
          length, config.context);
    shape.S = std::max(shape.S, length);
    // A text that outgrows its rope regime is read again whole.
    prompt_rows += rope_regime(config, length) != 0
                       ? length * lanes_of(r)
                       : static_cast<std::int64_t>(r.ids.size() + guidance_text(r).size());
    wanted += lanes_of(r);
    if (lanes_of(r) > widest) guided = r.options.guided();
    widest = std::max(widest, lanes_of(r));
    least_pages = std::max(least_pages, most_pages(config, r));
  }
  Communicator& replica = ctx.grid.replica();
  const auto page_bytes =
      static_cast<std::int64_t>(InferencePass::page_bytes(config, shape.held(), ctx.grid));
  for (std::int64_t slots = std::max(widest, std::min(limits.max_batch, wanted));;
       slots = std::max(widest, slots / 2)) {
    shape.slots = shape.max_logit_rows = slots;
    shape.max_rows = std::clamp(prompt_rows, slots, std::max(limits.max_rows, slots));
    if (!config.causal) shape.max_rows = std::max(shape.max_rows, shape.S);
    const std::int64_t full = pages_at_once(config, requests, slots);
    shape.pages = least_pages;
    const auto least_bytes =
        static_cast<std::int64_t>(InferencePass::plan_bytes(config, ctx.grid, shape) +
                                  InferencePass::kept_bytes(ctx, config, shape));
    const std::int64_t left = limits.memory_bytes - least_bytes,
                       room = limits.memory_bytes == 0 ? full
                              : left < 0               ? 0
                                                       : least_pages + left / page_bytes;
    shape.pages = replica.all_reduce_value(std::min(full, room), ReduceOp::min, ctx.stream);
    // Half as many continuations, rather than to wait with most of them for pages.
    const bool last = slots == widest;
    if (shape.pages >= least_pages && (last || 2 * shape.pages >= full)) return shape;
    if (!last) continue;
    const std::int64_t most = replica.all_reduce_value(least_bytes, ReduceOp::max, ctx.stream),
                       free =
                           replica.all_reduce_value(limits.memory_bytes, ReduceOp::min, ctx.stream);
    user_error(
        "{} of up to {} tokens need{} {} bytes of keys, values and activations on a rank, more "
        "than is free on its {} ({}); ask for fewer tokens (--max-new-tokens) or give more hosts "
        "(--tp, --pp)",
        widest == 1 ? "one continuation"
        : guided    ? "a continuation and the text that guidance leads away from"
                    : fmt::format("{} beams", widest),
        shape.S, widest == 1 ? "s" : "", most,
        ctx.stream.device().type == DeviceType::cuda ? "GPU" : "host", free);
  }
}

InferenceShape plan_serving(const Context& ctx, const ModelConfig& config,
                            const EngineLimits& limits) {
  GenerationRequest longest = {.ids = std::vector<std::int32_t>(static_cast<std::size_t>(
                                   std::max<std::int64_t>(config.context - 1, 1))),
                               .options = {}};
  longest.options.max_new_tokens = config.context - static_cast<std::int64_t>(longest.ids.size());
  // Room for one, and then pages for the others as far as memory goes: most texts are shorter.
  InferenceShape shape = plan_inference(ctx, config, {&longest, 1}, limits);
  shape.slots = shape.max_logit_rows = limits.max_batch;
  shape.max_rows = std::max(limits.max_rows, limits.max_batch);
  const std::int64_t full = limits.max_batch * shape.pages;
  std::int64_t room = full;
  if (limits.memory_bytes > 0) {
    const std::size_t least = InferencePass::plan_bytes(config, ctx.grid, shape) +
                              InferencePass::kept_bytes(ctx, config, shape);
    const std::int64_t left = limits.memory_bytes - static_cast<std::int64_t>(least);
    room = shape.pages + left / static_cast<std::int64_t>(
                                    InferencePass::page_bytes(config, shape.held(), ctx.grid));
    if (left < 0) room = 0;
  }
  room = ctx.grid.replica().all_reduce_value(std::min(full, room), ReduceOp::min, ctx.stream);
  CHECK_USER(room >= shape.pages,
             "--max-batch is {}, whose activations leave no room for the keys and values of one "
             "text of the model's context ({} tokens); allowed: fewer",
             limits.max_batch, config.context);
  shape.pages = room;
  return shape;
}

bool fits(const ModelConfig& config, const InferenceShape& shape, const GenerationRequest& r) {
  const std::int64_t prompt = static_cast<std::int64_t>(r.ids.size());
  return std::max(most_tokens(r), most_guidance_tokens(r)) <= shape.S &&
         lanes_of(r) <= shape.slots && most_pages(config, r) <= shape.pages &&
         (config.causal || prompt <= shape.max_rows);
}

Engine::Engine(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
               const Tokenizer* tokenizer, EngineLimits limits, EngineWatch watch)
    : model_{ctx, config, parameters, tokenizer}, limits_(limits), watch_(std::move(watch)) {
  limits_.weights = matrix_dtype(parameters);
}

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

InferenceShape Engine::serving_shape() const {
  return plan_serving(model_.ctx, model_.config, limits_);
}

InferenceShape Engine::growing_shape(const GenerationRequest& next) const {
  const auto plan = [&](const GenerationRequest& r) {
    return plan_inference(model_.ctx, model_.config, {&r, 1}, limits_);
  };
  const std::int64_t wanted =
      std::min(model_.config.context, std::max(kLeastGrowth, 2 * most_tokens(next)));
  if (wanted > most_tokens(next)) {
    GenerationRequest longer = next;
    longer.ids.resize(static_cast<std::size_t>(wanted - next.options.max_new_tokens),
                      next.ids.back());
    InferenceShape shape;
    const auto failure = failure_of([&] { shape = plan(longer); });
    if (!failure) return shape;
    if (failure->kind != FailureKind::user) rethrow(*failure);
  }
  return plan(next);
}

std::optional<Failure> Engine::serve(const InferenceShape& shape, const Feed& feed,
                                     const Done& done, const Token& token) {
  Batch batch(model_, shape, {}, {done, token, watch_}, feed);
  const auto failure = batch.run();
  passes_ = batch.passes();
  return failure;
}

void Engine::run(std::span<const GenerationRequest> requests, const Done& done,
                 const Token& token) {
  if (const auto failure = try_run(requests, done, token)) rethrow(*failure);
}

}  // namespace weft
