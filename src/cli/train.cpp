#include "train/trainer.h"

#include <omp.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/session.h"
#include "cli/version.h"
#include "core/hardware.h"

namespace weft {

void run_train(const Invocation& invocation) {
  auto world = invocation.mpi.world();
  TrainOptions options;
  const VisitFields fields = [&](FieldVisitor& v) { options.visit(v); };
  if (!parse_options(
          {"train", "Trains or fine-tunes a model on the grid of ranks at hand.", nullptr, ""},
          invocation.args, fields, world->rank() == 0))
    return;
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
  environment.hosts = {host_name()};
  environment.memory_bytes = host_memory_bytes() / invocation.mpi.ranks_on_host();
  train(std::move(world), options, environment);
}

}  // namespace weft
