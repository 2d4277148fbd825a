// `weft generate` over the combinations of a sweep, and its comparison.
#pragma once

#include "cli/command.h"
#include "cli/generation/sweep.h"

namespace weft {

// Each model is read once. Prints the comparison, or writes it to --table; with --json or --out a
// JSON line a continuation too, with the combination's values first. Collective.
void run_sweep(const Invocation& invocation, const Sweep& sweep);

}  // namespace weft
