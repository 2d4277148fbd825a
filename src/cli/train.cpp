#include "train/trainer.h"

#include <omp.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/run_facts.h"
#include "cli/session.h"
#include "core/system/hardware.h"
#include "infer/prompt_sampler.h"
#include "io/hub_cache.h"
#include "io/run_log.h"
#include "machine/device_choice.h"
#include "train/start.h"

namespace weft {
namespace {

TextSampler sampler_of(const SampledRun& run) {
  const std::vector<std::string>& prompts = run.options.sample;
  const auto sampler =
      std::make_shared<PromptSampler>(run.ctx, run.config, run.parameters, run.tokenizer,
                                      SampledPrompts{.what = "--sample",
                                                     .prompts = prompts,
                                                     .n_tokens = run.options.sample_tokens,
                                                     .seed = run.options.seed});
  return {.bytes = sampler->bytes(), .write = [sampler, prompts] {
            std::vector<TextSample> samples;
            const std::vector<std::string> texts = sampler->write();
            for (std::size_t i = 0; i < prompts.size(); ++i)
              samples.push_back({prompts[i], texts[i]});
            return samples;
          }};
}

}  // namespace

void run_train(const Invocation& invocation) {
  const StopSignal stop;  // from here on: one while the model is read counts too
  auto world = invocation.mpi.world();
  TrainOptions options;
  const VisitFields fields = [&](FieldVisitor& v) { options.visit(v); };
  if (!parse_options(
          {"train", "Trains or fine-tunes a model on the grid of ranks at hand.", nullptr, ""},
          invocation.args, fields, world->rank() == 0))
    return;
  // A run that goes on from its checkpoints needs the folder of --model no more.
  const auto lost = failure_of([&] { options.model = find_model(options.model, "--model"); });
  if (lost && resume_candidates(options).empty()) rethrow(*lost);
  options.tokenizer = find_model(options.tokenizer, "--tokenizer");
  validate(options);
  TrainingEnvironment environment;
  environment.n_threads = resolve_threads(options.threads, invocation.mpi.ranks_on_host());
  omp_set_num_threads(environment.n_threads);
  environment.recipe = [](TrainOptions resolved) {
    return "# All options of this run; weft train --config recipe.toml repeats it.\n" +
           to_toml([&](FieldVisitor& v) { resolved.visit(v); });
  };
  Stream stream({}, environment.n_threads);
  TrainingStart start = resolve_together(options, *world, stream);
  environment.device = device_of(invocation, &start.config, options.device, options.gpu_map);
  environment.time = find_run_time(*world, stream, options.walltime);
  environment.hosts = hosts_of(*world);
  environment.facts = run_facts(invocation, "train");
  environment.facts["device"] = device_word(environment.device);
  add_place(environment.facts, environment.hosts, world->size(), environment.time);
  environment.stop = &stop;
  environment.sampler = sampler_of;
  environment.ranks_on_host = invocation.mpi.ranks_on_host();
  train(std::move(world), options, std::move(start), environment);
}

}  // namespace weft
