// From gradients on every rank to updated weights: data-parallel sums overlapped with backward, the
// sums of what ranks share (a tied embedding, replicated KV heads), the global norm, clipping,
// AdamW.
#pragma once

#include <memory>
#include <vector>

#include "model/context.h"
#include "model/parameters.h"
#include "train/lr_schedule.h"

namespace weft {

// Sums the gradients over the data-parallel ranks, a bucket at a time, as soon as backward has
// finished it. Gradients lie in the order in which backward finishes them, so a bucket is a
// contiguous range.
class GradientReducer {
 public:
  GradientReducer(const Context& ctx, Parameters& parameters, const ModelConfig& config);
  static std::size_t plan_bytes(const Context& ctx, const ModelConfig& config);
  void ready(std::int64_t flat_end);  // [0, flat_end) is final on this rank; starts full buckets,
                                      // lets earlier ones progress
  // The rest; then the tied embedding's sum over first and last stage, KV heads' over their
  // replicas, and over tp what all heads share. Collective.
  void finish();

 private:
  static View lay_out(Arena& arena, const Context& ctx, const ModelConfig& config);
  void start(std::int64_t end);
  void sum_kv_replicas(LocalParameter& p);

  const Context& ctx_;
  Parameters& parameters_;
  const ModelConfig& config_;
  Arena kv_arena_;
  View kv_room_;  // gradients of all KV heads' rows, where tp ranks share KV heads
  std::int64_t started_ = 0;
  std::vector<std::unique_ptr<Transfer>> pending_;
};

// square (1) fp64: the squared Euclidean norm of the whole model's gradient, each element counted
// once, equal on every rank. Collective.
void global_grad_square(const Context& ctx, View square, const Parameters& parameters,
                        const ModelConfig& config);

struct OptimizerSettings {
  LrSchedule lr;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weight_decay = 0.1;
};

// One AdamW step of all local parameters, at the rate of `step` (from 1); gradients are multiplied
// by grad_scale (1) fp32 first.
void optimizer_step(const Context& ctx, Parameters& parameters, const OptimizerSettings& settings,
                    std::int64_t step, ConstView grad_scale);

}  // namespace weft
