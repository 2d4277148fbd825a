// What a config.json says of labels: id2label, an object of numbers as strings; label2id, its
// inverse; problem_type; num_labels in old files.
#pragma once

#include "model/config.h"

namespace weft {

void read_labels(const JsonReader& json, ModelConfig& config);  // UserErrors name the key
void write_labels(const ModelConfig& config, Json& json);       // nothing where no head labels

}  // namespace weft
