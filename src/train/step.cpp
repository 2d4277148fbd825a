#include "train/step.h"

#include <algorithm>
#include <cmath>

namespace weft {

std::int64_t TrainStep::micro_batch_size(const StepSettings& s, const GridShape& shape) {
  const std::int64_t rows = (s.batch_size + shape.dp - 1) / shape.dp;
  if (s.micro_batch_size > 0) return std::min(s.micro_batch_size, rows);
  return shape.pp == 1 ? rows : (rows + 7) / 8;
}

std::int64_t TrainStep::n_micro_batches(const StepSettings& s, const GridShape& shape) {
  const std::int64_t rows = (s.batch_size + shape.dp - 1) / shape.dp, micro = micro_batch_size(s, shape);
  return (rows + micro - 1) / micro;
}

StageShape TrainStep::stage_shape(const StepSettings& s, const GridShape& shape, int stage) {
  const auto n = static_cast<int>(n_micro_batches(s, shape));
  return {.B = micro_batch_size(s, shape), .T = s.T, .slots = slots_needed(s.schedule, shape.pp, stage, n), .recompute = s.recompute};
}

TrainStep::TrainStep(const Context& ctx, const ModelConfig& config, Parameters& parameters, const StepSettings& settings)
    : ctx_(ctx), parameters_(parameters), settings_(settings), micro_(micro_batch_size(settings, ctx.grid.shape())),
      n_micro_(n_micro_batches(settings, ctx.grid.shape())),
      stage_(ctx, config, parameters, stage_shape(settings, ctx.grid.shape(), ctx.grid.pp().rank()), settings.dropout, settings.seed),
      pipeline_(ctx, stage_), reducer_(ctx, parameters) {}

double TrainStep::run(ScheduleKind kind, const SampleSource& source, std::int64_t first, std::int64_t n, std::int64_t step, bool train,
                      const std::function<void(std::int64_t)>& ready) {
  const GridShape shape = ctx_.grid.shape();
  const Range mine = split_range(n, shape.dp, ctx_.grid.dp().rank());
  const std::int64_t rows = (n + shape.dp - 1) / shape.dp, T = settings_.T;
  const auto n_micro = static_cast<int>((rows + micro_ - 1) / micro_);
  double loss = 0;
  Pipeline::Hooks hooks;
  hooks.load = [&](StageSlot& slot, int m) {
    const std::int64_t begin = mine.begin + m * micro_;
    slot.batch = {.first_sample = first + begin, .step = static_cast<std::uint32_t>(step),
                  .loss_scale = static_cast<float>(1.0 / static_cast<double>(n * T)), .train = train};
    for (std::int64_t b = 0; b < micro_; ++b) {
      std::int32_t* ids = slot.ids.empty() ? nullptr : slot.ids.as<std::int32_t>() + b * T;
      std::int32_t* labels = slot.labels.empty() ? nullptr : slot.labels.as<std::int32_t>() + b * T;
      if (begin + b < mine.end) {
        if (ids || labels) source(first + begin + b, ids, labels);
        continue;
      }
      if (ids) std::fill(ids, ids + T, 0);
      if (labels) std::fill(labels, labels + T, kIgnoreLabel);
    }
  };
  hooks.done = [&](StageSlot& slot, int) {
    if (slot.loss.empty()) return;
    const float* losses = slot.loss.as<float>();
    for (std::int64_t i = 0; i < slot.loss.elems(); ++i) loss += losses[i];
  };
  hooks.ready = ready;
  pipeline_.run(schedule(kind, shape.pp, ctx_.grid.pp().rank(), n_micro), hooks);
  return loss;
}

double TrainStep::sum_over_grid(double loss) {
  const auto booked = book(ctx_, Share::comm);
  const bool counts = ctx_.grid.is_last_stage() && ctx_.grid.tp().rank() == 0;
  return ctx_.grid.world().all_reduce_value(counts ? loss : 0.0, ReduceOp::sum, ctx_.stream);
}

double TrainStep::gradients(const SampleSource& source, std::int64_t cursor, std::int64_t step) {
  {
    const auto booked = book(ctx_, Share::optimizer);
    parameters_.zero_grads();
  }
  const double loss = run(settings_.schedule, source, cursor, settings_.batch_size, step, true,
                          [&](std::int64_t flat_end) { reducer_.ready(flat_end); });
  reducer_.finish();
  return sum_over_grid(loss) / static_cast<double>(settings_.batch_size * settings_.T);
}

StepResult TrainStep::train(const SampleSource& source, std::int64_t cursor, std::int64_t step, double lr) {
  StepResult result;
  result.loss = gradients(source, cursor, step);
  const auto booked = book(ctx_, Share::optimizer);
  result.grad_norm = global_grad_norm(ctx_, parameters_);
  CHECK(std::isfinite(result.loss) && std::isfinite(result.grad_norm),
        "step {}: the loss is {} and the gradient norm {}; training has diverged (a smaller --lr or a longer --warmup-steps helps)", step, result.loss,
        result.grad_norm);
  const double clip = settings_.clip_grad_norm;
  const double scale_by = clip > 0 ? std::min(1.0, clip / (result.grad_norm + 1e-6)) : 1.0;  // as torch.nn.utils.clip_grad_norm_
  optimizer_step(ctx_, parameters_, settings_.optimizer, lr, step, scale_by);
  return result;
}

double TrainStep::evaluate(const SampleSource& source, std::int64_t n) {
  const double loss = run(ScheduleKind::forward_only, source, 0, n, 0, false, nullptr);
  return sum_over_grid(loss) / static_cast<double>(n * settings_.T);
}

}  // namespace weft
