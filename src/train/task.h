// Training tasks: what each needs of the model and the data.
#pragma once

#include <memory>
#include <optional>

#include "data/training_data.h"
#include "model/config.h"
#include "text/tokenizer.h"
#include "train/options.h"

namespace weft {

// A new model by the options' family and sizes; its special tokens are the tokenizer's.
ModelConfig fresh_model(const TrainOptions& options, std::int64_t vocab,
                        const std::optional<Tokenizer>& tokenizer);

// Gives the model the task's head, with the data's labels. UserErrors name the option: a family
// that cannot, token types that the model does not know.
void set_task(ModelConfig& config, const TrainOptions& options, const TokenFileInfo& data,
              const std::optional<Tokenizer>& tokenizer);

// The task's samples, of at most T tokens.
std::unique_ptr<TrainingData> task_data(const ModelConfig& config, const TrainOptions& options,
                                        const TokenFile& file, std::int64_t T,
                                        const std::optional<Tokenizer>& tokenizer);

}  // namespace weft
