// The angles of rotary positions, as transformers' modeling_rope_utils computes them: default,
// linear, dynamic NTK, llama3, yarn, longrope.
#pragma once

#include <span>
#include <vector>

#include "core/tensor.h"
#include "model/config.h"

namespace weft {

// Radians a token of each of the P/2 pairs, in a text of `length` tokens (dynamic and longrope
// depend on it).
std::vector<float> rope_frequencies(const Rope& rope, std::int64_t length);

// Whether a text that grows from `cached` to `length` tokens must be read again from its start: its
// angles change (longrope, as Phi-3's prepare_inputs_for_generation).
bool rope_restarts(const ModelConfig& config, std::int64_t cached, std::int64_t length);

// One row of the table that kernels' rope reads: the cosines, then the sines, of one position.
void fill_rope_row(float* row, std::int64_t position, std::span<const float> frequencies,
                   double attention_factor);

}  // namespace weft
