#include "train/trainer.h"

#include <omp.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/version.h"
#include "comm/agreement.h"
#include "core/hardware.h"
#include "io/hub_cache.h"
#include "train/start.h"

namespace weft {

namespace {

// The hosts that ranks run on, each once, in the order of their first ranks. Collective.
std::vector<std::string> hosts_of(Communicator& world) {
  Stream stream;
  std::vector<std::string> hosts;
  for (const std::string& host : gather_texts(world, host_name(), stream))
    if (std::find(hosts.begin(), hosts.end(), host) == hosts.end()) hosts.push_back(host);
  return hosts;
}

}  // namespace

void run_train(const Invocation& invocation) {
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
  check_device(options.device);
  TrainingEnvironment environment;
  environment.n_threads = resolve_threads(options.threads, invocation.mpi.ranks_on_host());
  omp_set_num_threads(environment.n_threads);
  environment.recipe = [](TrainOptions resolved) {
    return "# All options of this run; weft train --config recipe.toml repeats it.\n" +
           to_toml([&](FieldVisitor& v) { resolved.visit(v); });
  };
  environment.build = build_info();
  environment.hosts = hosts_of(*world);
  environment.memory = memory_room(invocation.mpi.ranks_on_host());
  train(std::move(world), options, environment);
}

}  // namespace weft
