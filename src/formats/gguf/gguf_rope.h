// RoPE's scaling from a GGUF file, as Hugging Face's rope_scaling.
#pragma once

#include "io/weights/gguf.h"

namespace weft {

struct RopeSource {
  const GgufReader& file;
  std::string architecture;
  std::int64_t head_dim;
  double theta;
};

// rope_scaling of config.json (linear, yarn, longrope, llama3); null where there is none, or none
// that gives the file's factors.
Json rope_scaling_of_gguf(const RopeSource& source);
// rope_freqs.weight: what divides each frequency. Null where there is no such tensor.
Json rope_factors_of_gguf(const RopeSource& source);

}  // namespace weft
