// Rotary settings from and to config.json: rope_parameters (transformers 5), or rope_theta,
// rope_scaling and their older spellings.
#pragma once

#include "io/json.h"
#include "model/config.h"

namespace weft {

// config.rope's theta and dims (as a share of the head: partial_rotary_factor) are the family's
// defaults where the file is silent.
void read_rope(const JsonReader& json, ModelConfig& config);
// Keeps what the file said; a fresh config gets rope_theta and rope_parameters.
void write_rope(const ModelConfig& config, Json& json);

}  // namespace weft
