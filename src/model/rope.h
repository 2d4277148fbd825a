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

// Which angles the tokens of a text of `length` tokens have: a text that grows into another regime
// is read again from its start. Rope::rereads asks for it, where longrope goes beyond the original
// context (Phi-3's prepare_inputs_for_generation); others, and dynamic scaling, keep what was read,
// as transformers does.
int rope_regime(const ModelConfig& config, std::int64_t length);

// One row of the table that kernels' rope reads: the cosines, then the sines, of one position.
void fill_rope_row(float* row, std::int64_t position, std::span<const float> frequencies,
                   double attention_factor);

}  // namespace weft
