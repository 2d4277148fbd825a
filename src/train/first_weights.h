// How a run begins that resumes none: with weights drawn from its seed, or with --model's.
#pragma once

#include "formats/checkpoint_file.h"
#include "train/start.h"

namespace weft {

// Fills weights and moments, and gives the state of a run that has done no step. A head that
// --model lacks, or that has another number of labels, is new, and is named; not the one that
// predicts the next token. UserError where the files do not fit. Collective.
RunState begin_run(const Context& ctx, const TrainOptions& options, const TrainingStart& start,
                   Parameters& parameters);

}  // namespace weft
