// Checkpoints: a grid's weights and moments to one file (formats/checkpoint_file.h) and back, on
// any grid. Each rank writes the elements it answers for. The file is written beside, synced and
// renamed; whatever is found under its own name and verifies is whole.
#pragma once

#include <filesystem>

#include "formats/checkpoint_file.h"
#include "model/context.h"
#include "model/parameters.h"

namespace weft {

// Of its file, at most.
std::int64_t checkpoint_bytes(const ModelConfig& config, const RunState& state);

// Collective over the grid's world. Error, on every rank, where the disk is full or fails; the file
// under its own name is then untouched.
void save_checkpoint(const Context& ctx, const std::filesystem::path& file,
                     const Parameters& parameters, const ModelConfig& config,
                     const RunState& state);

// Fills the weights, and the moments where the parameters have them. `config` is the file's;
// parameters of the model without its head, or with one of the same tensors, are filled too.
// Collective over the grid's world. On every rank, Damaged where a checksum differs, UserError
// where it is another model's, Error where it cannot be read.
void load_checkpoint(const Context& ctx, const std::filesystem::path& file, Parameters& parameters,
                     const ModelConfig& config);

}  // namespace weft
