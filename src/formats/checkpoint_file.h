// The layout of a checkpoint file: one HDF5 tree of whole tensors, free of any grid's layout.
//   /header             JSON: format, step, cursor, seed, config, and of every tensor its shape and
//                       three checksums
//   /tokenizer          canonical tokenizer.json (empty when none is known)
//   /generation         generation_config.json, byte for byte; only where the model came with one
//   /parameters/<name>  /moments/m/<name>  /moments/v/<name>
// A tensor's checksum does not depend on the layout either: Σ mix(global index, bits) modulo 2^64.
// What is written with it is for formats/ alone; what a file says of itself is for all.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "formats/tensor_checksum.h"
#include "io/hdf5/hdf5.h"
#include "io/json.h"
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

// The three tensors that a checkpoint keeps of each parameter, weights first.
struct CheckpointTensor {
  const char* group;
  View LocalParameter::*tensor;
};
constexpr CheckpointTensor kCheckpointTensors[] = {{"/parameters/", &LocalParameter::weight},
                                                   {"/moments/m/", &LocalParameter::m},
                                                   {"/moments/v/", &LocalParameter::v}};

// Parameters with values of their own, in the registry's order, the same on every rank.
std::vector<Parameter> stored_parameters(const ModelConfig& config);
std::vector<FileRun> file_runs(const std::vector<Run>& runs);

// `sums`: [parameter][tensor] flattened.
std::string checkpoint_header(const ModelConfig& config, const RunState& state,
                              const std::vector<std::int64_t>& sums);
void write_texts(Hdf5File& out, const std::string& header, const RunState& state);
// The header alone, its own checksum verified.
Json read_header(const Hdf5File& in);
// What it says of a parameter's weight (0) or moments (1, 2).
std::int64_t checksum_of(const Json& header, const std::string& parameter, std::size_t tensor,
                         const std::filesystem::path& file);

}  // namespace weft
