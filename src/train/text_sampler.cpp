#include "train/text_sampler.h"

#include "comm/agreement.h"
#include "core/check.h"

namespace weft {

TextSampler make_text_sampler(const MakeTextSampler& make, const TrainingStart& start,
                              const TrainOptions& options, const Context& ctx,
                              const Parameters& parameters) {
  TextSampler sampler;
  if (options.sample.empty()) return sampler;
  throw_together(
      ctx.grid.world(), failure_of([&] {
        CHECK_USER(start.tokenizer,
                   "--sample needs a tokenizer, and --data {} names none: give --tokenizer",
                   options.data);
        CHECK_USER(start.data->n_val() > 0,
                   "--sample writes at each evaluation, and --data {} has nothing to evaluate on: "
                   "make it with `weft data --val-fraction`",
                   options.data);
        sampler = make({.ctx = ctx,
                        .config = start.config,
                        .parameters = parameters,
                        .tokenizer = *start.tokenizer,
                        .options = options});
      }),
      ctx.stream);
  return sampler;
}

std::vector<TextSample> write_samples(const TextSampler& sampler, const Context& ctx) {
  std::vector<TextSample> texts;
  if (!sampler.write) return texts;
  throw_together(ctx.grid.world(), failure_of([&] {
                   if (ctx.grid.dp().rank() == 0) texts = sampler.write();
                 }),
                 ctx.stream);
  return texts;
}

}  // namespace weft
