#include "infer/prompt_sampler.h"

#include <algorithm>
#include <map>

#include "formats/families/families.h"
#include "infer/continuation.h"
#include "model/gather_parameter.h"

namespace weft {
namespace {

Generation generation_of(const ModelConfig& c, const SampledPrompts& s, std::int64_t n_prompt) {
  Generation g;
  g.max_new_tokens = std::min(s.n_tokens, c.context - n_prompt);
  g.do_sample = true;
  g.temperature = 0.8;
  g.top_k = 200;
  g.seed = s.seed;
  g.eos = end_tokens(c);
  return g;
}

}  // namespace

PromptSampler::PromptSampler(const Context& ctx, const ModelConfig& config,
                             const Parameters& trained, const Tokenizer& tokenizer,
                             const SampledPrompts& prompts)
    : ctx_{.grid = ctx.grid,
           .stream = ctx.stream,
           .precision = Precision::fp32_fixed,
           .clock = nullptr,
           .observer = {}},
      config_(config),
      trained_(trained),
      tokenizer_(tokenizer) {
  std::map<std::vector<std::int32_t>, std::int64_t> copies;
  for (const std::string& prompt : prompts.prompts) {
    const std::string what = fmt::format("{} '{}'", prompts.what, prompt);
    const std::vector<std::int32_t> ids = prompt_ids(tokenizer, config, prompt, what);
    const auto n = static_cast<std::int64_t>(ids.size());
    CHECK_USER(n < config.context,
               "{} has {} tokens; allowed: 1 to {}, so that the model's context of {} holds one "
               "more",
               what, n, config.context - 1, config.context);
    requests_.push_back({.ids = ids,
                         .options = generation_of(config, prompts, n),
                         .stream = draw_stream(ids, copies[ids]++),
                         .name = what});
  }
  const InferenceShape shape = plan_inference(ctx_, config, requests_, EngineLimits());
  bytes_ = InferencePass::plan_bytes(config, ctx.grid, shape) +
           InferencePass::kept_bytes(ctx_, config, shape);
  if (has_other_layout())
    bytes_ +=
        largest_tensor_bytes(config) +
        Parameters::plan_bytes(config, ctx.grid.shape(), ctx.grid.tp().rank(), ctx.grid.pp().rank(),
                               DType::f32, ParameterUse::inference, ctx.stream.device());
}

bool PromptSampler::has_other_layout() const {
  return ctx_.grid.shape().tp > 1 || trained_.chunks() > 1 ||
         std::ranges::any_of(trained_.list(),
                             [](const LocalParameter& p) { return !p.weight_bf16.empty(); });
}

std::vector<std::string> PromptSampler::write() {
  std::optional<Parameters> copy;
  if (has_other_layout()) {
    copy.emplace(config_, ctx_.grid, DType::f32, ParameterUse::inference, 1, ctx_.stream.device());
    copy_weights(*copy, trained_, ctx_.grid, ctx_.stream);
    copy->to_panels(ctx_.stream);
  }
  std::vector<std::string> texts(requests_.size());
  Engine engine(ctx_, config_, copy ? *copy : trained_, &tokenizer_);
  engine.run(requests_, [&](std::size_t r, std::int64_t, const Completion& c) {
    if (!c.error.empty()) machine_error("{}", c.error);
    texts[r] = continuation_text(tokenizer_, requests_[r].ids, c.ids);
  });
  return texts;
}

}  // namespace weft
