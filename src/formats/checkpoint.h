// Checkpoints: one HDF5 file of whole tensors, free of any grid's layout.
//   /header      JSON: format, step, cursor, seed, config, and of every tensor its shape and three
//                checksums
//   /tokenizer   canonical tokenizer.json (empty when none is known)
//   /generation  generation_config.json, byte for byte; only where the model came with one
//   /parameters/<name>  /moments/m/<name>  /moments/v/<name>
// Each rank writes the elements it answers for. The file is written beside, synced and renamed;
// whatever is found under its own name and verifies is whole. A tensor's checksum does not depend
// on the layout either: Σ mix(global index, bits) modulo 2^64.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "model/context.h"
#include "model/parameters.h"

namespace weft {

// What a run is besides its tensors.
struct RunState {
  std::int64_t step = 0;    // optimizer steps done
  std::int64_t cursor = 0;  // samples consumed
  std::int64_t seed = 0;
  std::string tokenizer;           // canonical JSON
  std::string generation;          // generation_config.json's text; empty: none
  OrderedJson identity = nullptr;  // what the run is (train/run_identity.h); null: the file is of
                                   // before, or of a conversion
};

// What a file says of itself, read without its tensors. UserError: not a checkpoint. Damaged;
// Error where it cannot be read.
struct CheckpointHeader {
  ModelConfig config;
  RunState state;
  std::uint64_t checksum = 0;  // of all of it
};
CheckpointHeader read_checkpoint_header(const std::filesystem::path& file);
bool is_checkpoint(const std::filesystem::path& file);  // by its ending: .h5, .hdf5
// The generation_config.json that a model's folder or checkpoint comes with, byte for byte; empty:
// none.
std::string generation_text(const std::filesystem::path& model);

// Collective over the grid's world. Error, on every rank, with host and rank where a replica's
// weights or moments are not replica 0's.
void check_replicas(const Context& ctx, const Parameters& parameters);

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

// The weights of a file a tensor at a time, by one process alone, for who does not hold the model.
class CheckpointWeights {
 public:
  explicit CheckpointWeights(const std::filesystem::path& file);
  ~CheckpointWeights();
  std::vector<float> read(const Parameter& parameter,
                          int n_threads) const;  // UserError where it is damaged

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
// Writes a file of weights alone: step 0, and moments of zero, which take no room. `weight` is
// called for each parameter in order. By one process alone; Error where the disk is full or fails.
void write_weights_checkpoint(const std::filesystem::path& file, const ModelConfig& config,
                              const std::string& tokenizer, const std::string& generation,
                              const std::function<std::vector<float>(const Parameter&)>& weight,
                              int n_threads);

// Checkpoint files of a folder, newest step first; none where there is no folder. Error where it
// cannot be read.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);
std::filesystem::path checkpoint_name(const std::filesystem::path& folder,
                                      std::int64_t step);         // step-00000100.h5
std::int64_t checkpoint_step(const std::filesystem::path& file);  // -1: not such a name

}  // namespace weft
