// The weights of a checkpoint file as a source, and files of weights alone.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "formats/checkpoint_file.h"
#include "formats/weight_source.h"

namespace weft {

// `header` is the file's. Nothing is opened before it is asked for.
std::unique_ptr<WeightSource> checkpoint_weights(const std::filesystem::path& file,
                                                 const CheckpointHeader& header);

// What a file of weights alone holds besides them.
struct ModelTexts {
  std::string tokenizer;   // canonical JSON; empty: none
  std::string generation;  // generation_config.json; empty: none
};
// Writes a file of weights alone, by one process: step 0, and moments of zero, which take no room.
// `weight` is called for each parameter in order. Error where the disk is full or fails.
void write_weights_checkpoint(const std::filesystem::path& file, const ModelConfig& config,
                              const ModelTexts& texts,
                              const std::function<std::vector<float>(const Parameter&)>& weight,
                              int n_threads);

}  // namespace weft
