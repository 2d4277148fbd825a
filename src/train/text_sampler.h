// Texts that a run's weights write as they are trained (--sample). Who writes them comes from above
// (cli/train.cpp): inference lies beside this room.
#pragma once

#include <functional>

#include "model/context.h"
#include "model/parameters.h"
#include "text/tokenizer.h"
#include "train/start.h"

namespace weft {

struct TextSample {
  std::string prompt, text;  // the text is the continuation alone
};

// The run whose weights write; all of it outlives the sampler.
struct SampledRun {
  const Context& ctx;
  const ModelConfig& config;
  const Parameters& parameters;
  const Tokenizer& tokenizer;
  const TrainOptions& options;
};

struct TextSampler {
  std::size_t bytes = 0;  // that it takes on this rank while it writes
  // Collective over the first data-parallel replica. The samples in the order of --sample.
  std::function<std::vector<TextSample>()> write;
};

// Collective over each replica. UserErrors name the prompt.
using MakeTextSampler = std::function<TextSampler(const SampledRun&)>;

// The sampler of a run with --sample; of another run an empty one. UserError where the run has no
// tokenizer or no evaluations. Collective, as write_samples().
TextSampler make_text_sampler(const MakeTextSampler& make, const TrainingStart& start,
                              const TrainOptions& options, const Context& ctx,
                              const Parameters& parameters);
// On the first data-parallel replica; its failures are everybody's. An empty sampler has none.
std::vector<TextSample> write_samples(const TextSampler& sampler, const Context& ctx);

}  // namespace weft
