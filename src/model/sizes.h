// Bytes and FLOPs of everything: the one home of the formulas that training reports, benchmarks and
// the planner share.
#pragma once

#include "model/config.h"
#include "model/parameters.h"
#include "model/schedule.h"

namespace weft {

// FLOPs of one token, forward and backward, as PaLM (Chowdhery et al. 2022, appendix B): 6 a
// parameter, and 12·L·H·D·T for attention (both halves of the causal mask counted, as is usual).
double training_flops_per_token(const ModelConfig& config, std::int64_t T);
// A forward pass alone: a third.
double forward_flops_per_token(const ModelConfig& config, std::int64_t T);
// Of it, the head's: a prompt needs it for its last token only.
double head_flops_per_token(const ModelConfig& config);

// Relative cost of each pipeline stage, by FLOPs; the loss's gradient is made in the last stage's
// forward.
std::vector<StageCost> stage_costs(const ModelConfig& config, int pp, std::int64_t T);

// Bytes of weights that one decode step of one sequence reads: all but the token and position
// tables, whose one row is read.
std::int64_t decode_weight_bytes(const ModelConfig& config, DType dtype);

// Bytes that keys and values of one token take on one rank, over its layers.
std::int64_t kv_bytes_per_token(const ModelConfig& config, const GridShape& shape, int tp_rank,
                                int pp_rank);

}  // namespace weft
