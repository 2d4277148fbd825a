// What a training run starts from, resolved from its options: config, tokenizer, data, and the
// checkpoint to resume. Every mistake that can be seen before the first step is found here.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "comm/compare.h"
#include "comm/grid.h"
#include "core/system/memory.h"
#include "data/training_data.h"
#include "formats/open_model.h"
#include "train/options.h"
#include "train/step.h"

namespace weft {

struct TrainingStart {
  GridShape shape;
  std::optional<StoredModel> model;  // --model; none: a fresh one, or without_model
  ModelConfig config;
  std::optional<Tokenizer> tokenizer;  // none: the data names none, and none was given
  std::shared_ptr<TrainingData> data;
  StepSettings step;
  std::filesystem::path out;
  OrderedJson identity;           // train/run_identity.h
  bool without_model = false;     // --model is gone, and a checkpoint to resume has what it held
  std::int64_t stored_vocab = 0;  // tokens in --model's files, where the data has more; else 0
  std::int64_t context = 0;       // to ask for again: the model's where it is fresh, else step.T
};

// Reads files, writes none; the same on every rank.
TrainingStart resolve_start(const TrainOptions& options, int n_ranks);

// What ranks must have read alike of a model: its tokenizer, its config, and of its weights what
// WeightSource::checksum() reads. Null: it has no files.
std::vector<Fact> model_facts(const StoredModel* model, const ModelConfig& config,
                              const std::optional<Tokenizer>& tokenizer);

// On all ranks, which must have been told and have read the same. Collective. UserError: what is
// wrong, or the host whose files or options differ.
TrainingStart resolve_together(const TrainOptions& options, Communicator& world, Stream& stream);

// What a run's training takes of a rank's device, --sample's texts not counted, with weights as
// `dtype` says (none: fp32).
std::size_t plan_training(const Context& ctx, const TrainingStart& start,
                          std::optional<DType> dtype);

// Collective. On every rank an Error of the machine where one of them has no such room.
void check_memory(std::size_t planned_bytes, const MemoryRoom& room, Communicator& world,
                  Stream& stream);

// The checkpoints to try, best first, by --resume. UserError where a named one does not exist.
std::vector<std::filesystem::path> resume_candidates(const TrainOptions& options);

}  // namespace weft
