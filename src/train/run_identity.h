// What a run is besides its model: tokenizer, dataset, task, context, batch size, schedule, seed. A
// checkpoint and the log hold it, and resuming compares it.
#pragma once

#include <string>
#include <vector>

#include "io/json.h"
#include "train/start.h"

namespace weft {

constexpr const char* kDatasetKeys[] = {"tokenizer", "tokens", "documents", "val_fraction",
                                        "data_checksum"};

OrderedJson run_identity(const TrainingStart& start, const TrainOptions& options);

// How the run that wrote `stored` differs from `mine`, a phrase each: "--lr was 0.001, is 0.01".
struct IdentityChanges {
  std::vector<std::string> another_run;  // another tokenizer, dataset, task, context, seed: the
                                         // place in the data and the weights mean nothing there
  std::vector<std::string> settings;     // schedule, batch size, optimizer, dropout
};
IdentityChanges identity_changes(const OrderedJson& stored, const OrderedJson& mine);

// UserError where the checkpoint is of another run or model; what else has changed.
IdentityChanges check_same_run(const std::filesystem::path& file, const CheckpointHeader& header,
                               const TrainingStart& start, std::int64_t seed);

}  // namespace weft
