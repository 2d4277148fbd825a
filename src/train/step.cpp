#include "train/step.h"

#include <algorithm>
#include <cmath>

#include "kernels/scratch.h"

namespace weft {

std::int64_t TrainStep::micro_batch_size(const StepSettings& s, const GridShape& shape) {
  const std::int64_t rows = (s.batch_size + shape.dp - 1) / shape.dp;
  if (s.micro_batch_size > 0) return std::min(s.micro_batch_size, rows);
  return shape.pp == 1 ? rows : (rows + 7) / 8;
}

std::int64_t TrainStep::n_micro_batches(const StepSettings& s, const GridShape& shape) {
  const std::int64_t rows = (s.batch_size + shape.dp - 1) / shape.dp,
                     micro = micro_batch_size(s, shape);
  return (rows + micro - 1) / micro;
}

std::int64_t TrainStep::computed_sequences(const StepSettings& s, const GridShape& shape) {
  return shape.dp * n_micro_batches(s, shape) * micro_batch_size(s, shape);
}

StageShape TrainStep::stage_shape(const StepSettings& s, const GridShape& shape, int stage,
                                  int chunk) {
  const auto n = static_cast<int>(n_micro_batches(s, shape));
  const std::vector<Instruction> list = schedule(s.schedule, shape.pp, stage, n, s.chunks);
  return {.B = micro_batch_size(s, shape),
          .T = s.T,
          .slots = slots_needed(list),
          .recompute = s.recompute,
          .splits_backward = splits_backward(list),
          .chunk = chunk,
          .chunks = s.chunks};
}

std::vector<StageSchedule> checked_schedule(const StepSettings& s, const GridShape& shape) {
  const auto n = static_cast<int>(TrainStep::n_micro_batches(s, shape));
  std::vector<StageSchedule> all = pipeline_schedule(s.schedule, shape.pp, n, s.chunks);
  const std::string fault = check_schedule(all);
  CHECK(fault.empty(), "{} micro-batches on {} stages: {}", n, shape.pp, fault);
  // An evaluation goes forward in the same slots.
  std::vector<StageSchedule> forward =
      pipeline_schedule(ScheduleKind::forward_only, shape.pp, n, s.chunks);
  for (std::size_t i = 0; i < all.size(); ++i) forward[i].slots = all[i].slots;
  const std::string evaluation = check_schedule(forward);
  CHECK(evaluation.empty(), "evaluation on {} stages: {}", shape.pp, evaluation);
  return all;
}

namespace {

std::vector<std::unique_ptr<Stage>> make_chunks(const Context& ctx, const ModelConfig& config,
                                                Parameters& parameters, const StepSettings& s) {
  CHECK(parameters.chunks() == s.chunks, "{} chunks, but the parameters are of {}", s.chunks,
        parameters.chunks());
  std::vector<std::unique_ptr<Stage>> list;
  for (int chunk = 0; chunk < s.chunks; ++chunk)
    list.push_back(std::make_unique<Stage>(
        ctx, config, parameters,
        TrainStep::stage_shape(s, ctx.grid.shape(), ctx.grid.pp().rank(), chunk), s.dropout,
        s.seed));
  return list;
}

std::vector<Stage*> pointers(const std::vector<std::unique_ptr<Stage>>& chunks) {
  std::vector<Stage*> list;
  for (const auto& chunk : chunks) list.push_back(chunk.get());
  return list;
}

}  // namespace

std::array<TrainStep::Scalars, TrainStep::kMostUnderWay> TrainStep::lay_out_scalars(Arena& arena) {
  std::array<Scalars, kMostUnderWay> all;
  for (Scalars& s : all) {
    s.sums = arena.alloc(DType::f64, {2});
    s.loss = s.sums.rows(0, 1);
    s.square = s.sums.rows(1, 2);
    s.grad_scale = arena.alloc(DType::f32, {1});
  }
  return all;
}

TrainStep::TrainStep(const Context& ctx, const ModelConfig& config, Parameters& parameters,
                     const StepSettings& settings)
    : ctx_(ctx),
      config_(config),
      parameters_(parameters),
      settings_(settings),
      micro_(micro_batch_size(settings, ctx.grid.shape())),
      n_micro_(n_micro_batches(settings, ctx.grid.shape())),
      chunks_(make_chunks(ctx, config, parameters, settings)),
      pipeline_(ctx, pointers(chunks_)),
      reducer_(ctx, parameters, config),
      scalar_arena_("scalars", measure(lay_out_scalars), ctx.stream.device()) {
  const auto scalars = lay_out_scalars(scalar_arena_);
  for (std::size_t i = 0; i < ring_.size(); ++i) ring_[i].scalars = scalars[i];
  // What grows as it is used would grow in the middle of a step.
  ctx.stream.scratch(scratch_bytes(ctx, config, parameters.plan(), settings));
}

std::size_t TrainStep::activation_bytes() const {
  std::size_t bytes = 0;
  for (const auto& chunk : chunks_) bytes += chunk->bytes();
  return bytes;
}

std::size_t TrainStep::scratch_bytes(const Context& ctx, const ModelConfig& config,
                                     const ParametersPlan& parameters, const StepSettings& s) {
  std::size_t bytes = backward_scratch_bytes(
      {.elems = parameters.elems, .n_tensors = parameters.n_tensors}, ctx.stream.device());
  for (int chunk = 0; chunk < s.chunks; ++chunk)
    bytes = std::max(
        bytes, Stage::scratch_bytes(ctx, config,
                                    stage_shape(s, ctx.grid.shape(), ctx.grid.pp().rank(), chunk)));
  return bytes;
}

std::size_t TrainStep::plan_bytes(const Context& ctx, const ModelConfig& config,
                                  const ParametersPlan& parameters, const StepSettings& s) {
  std::size_t bytes = measure(lay_out_scalars) + GradientReducer::plan_bytes(ctx, config) +
                      scratch_bytes(ctx, config, parameters, s) +
                      op_workspace_bytes(ctx.stream.device(), parameters.n_tensors);
  for (int chunk = 0; chunk < s.chunks; ++chunk)
    bytes += Stage::plan_bytes(ctx, config,
                               stage_shape(s, ctx.grid.shape(), ctx.grid.pp().rank(), chunk));
  return bytes;
}

std::int64_t TrainStep::count_labels(const SampleSource& source, std::int64_t first,
                                     std::int64_t n) {
  const auto timed = time_as(ctx_, TimeShare::data);
  const Range mine = split_range(n, ctx_.grid.shape().dp, ctx_.grid.dp().rank());
  std::int64_t count = 0;
  for (std::int64_t place = mine.begin; place < mine.end; ++place) {
    Sample sample;
    sample.length = static_cast<std::int32_t>(settings_.T);
    source(first + place, sample);
    count += sample.n_labels;
  }
  return ctx_.grid.dp().all_reduce_value(count, ReduceOp::sum, ctx_.stream);
}

void TrainStep::run(UnderWay& to, const SampleSource& source, const Pass& pass) {
  const GridShape shape = ctx_.grid.shape();
  const Range mine = split_range(pass.n, shape.dp, ctx_.grid.dp().rank());
  const std::int64_t rows = (pass.n + shape.dp - 1) / shape.dp, T = settings_.T;
  const auto n_micro = static_cast<int>((rows + micro_ - 1) / micro_);
  const std::int64_t n_labels = std::max<std::int64_t>(1, count_labels(source, pass.first, pass.n));
  const bool texts = config_.head == HeadKind::classify;
  to.n_labels = n_labels;
  fill(to.scalars.loss, 0, ctx_.stream);
  Pipeline::Hooks hooks;
  hooks.load = [&](StageSlot& slot, int m) {
    const std::int64_t begin = mine.begin + m * micro_;
    slot.staging.wait();
    MicroBatch& batch = slot.batch;
    batch.first_sample = pass.first + begin;
    batch.step = static_cast<std::uint32_t>(pass.step);
    batch.loss_scale = static_cast<float>(1.0 / static_cast<double>(n_labels));
    batch.train = pass.train;
    const auto row = [](const Staged& x, std::int64_t b, std::int64_t n) {
      return x.empty() ? nullptr : x.host.as<std::int32_t>() + b * n;
    };
    for (std::int64_t b = 0; b < micro_; ++b) {
      Sample sample = {.ids = row(batch.ids, b, T),
                       .types = row(batch.types, b, T),
                       .labels = row(batch.labels, b, texts ? 1 : T),
                       .targets = batch.targets.empty()
                                      ? nullptr
                                      : batch.targets.host.as<float>() + b * config_.n_labels,
                       .length = static_cast<std::int32_t>(T),
                       .label_end = 0,
                       .n_labels = 0};
      if (sample.ids) std::fill(sample.ids, sample.ids + T, 0);
      if (sample.types) std::fill(sample.types, sample.types + T, 0);
      if (sample.labels) std::fill(sample.labels, sample.labels + (texts ? 1 : T), kIgnoreLabel);
      if (sample.targets) std::fill(sample.targets, sample.targets + config_.n_labels, 0.0f);
      if (begin + b < mine.end) source(pass.first + begin + b, sample);
      batch.lengths.host.as<std::int32_t>()[b] = sample.length;
      batch.label_ends[static_cast<std::size_t>(b)] =
          sample.label_end > 0 ? sample.label_end : sample.length;
    }
  };
  hooks.done = [&](StageSlot& slot, int m) {
    if (slot.activations.loss.empty()) return;
    add_sum(to.scalars.loss, slot.activations.loss, ctx_.stream);
    if (!pass.predicted || slot.activations.logits.empty() || ctx_.grid.tp().rank() != 0) return;
    const std::int64_t each = slot.activations.logits.elems() / micro_;
    const float* logits = logits_.floats(slot.activations.logits, ctx_.stream).as<float>();
    for (std::int64_t b = 0; b < micro_ && mine.begin + m * micro_ + b < mine.end; ++b)
      pass.predicted(pass.first + mine.begin + m * micro_ + b,
                     {logits + b * each, static_cast<std::size_t>(each)});
  };
  hooks.ready = pass.ready;
  pipeline_.run(schedule(pass.kind, shape.pp, ctx_.grid.pp().rank(), n_micro, settings_.chunks),
                hooks);
  if (pass.train) reducer_.finish();
}

StepResult TrainStep::fetch(UnderWay& of) {
  const double* sums = of.sums.finish().as<double>();
  const auto timed = time_as(ctx_, TimeShare::comm);
  const bool counts = ctx_.grid.is_last_stage() && ctx_.grid.tp().rank() == 0;
  const double loss =
      ctx_.grid.world().all_reduce_value(counts ? sums[0] : 0.0, ReduceOp::sum, ctx_.stream);
  return {.loss = loss / static_cast<double>(of.n_labels), .grad_norm = std::sqrt(sums[1])};
}

double TrainStep::loss_of(const std::function<void(UnderWay&)>& pass) {
  CHECK(under_way() == 0, "a pass begins with {} steps under way", under_way());
  UnderWay& one = ring(n_begun_);
  pass(one);
  one.sums.start(one.scalars.sums, ctx_.stream);
  return fetch(one).loss;
}

void TrainStep::run_backward(UnderWay& to, const SampleSource& source, std::int64_t cursor,
                             std::int64_t step) {
  parameters_.begin_grads();
  run(to, source,
      {.kind = settings_.schedule,
       .first = cursor,
       .n = settings_.batch_size,
       .step = step,
       .train = true,
       .ready = [&](std::int64_t flat_end) { reducer_.ready(flat_end); },
       .predicted = nullptr});
}

double TrainStep::gradients(const SampleSource& source, std::int64_t cursor, std::int64_t step) {
  return loss_of([&](UnderWay& one) { run_backward(one, source, cursor, step); });
}

StepResult TrainStep::train(const SampleSource& source, std::int64_t cursor, std::int64_t step) {
  begin(source, cursor, step);
  return result();
}

// Nothing of it is waited for: what clips the gradient is the device's own.
void TrainStep::begin(const SampleSource& source, std::int64_t cursor, std::int64_t step) {
  CHECK(under_way() < kMostUnderWay, "step {} begins with {} under way", step, under_way());
  UnderWay& one = ring(n_begun_);
  one.step = step;
  run_backward(one, source, cursor, step);
  const auto timed = time_as(ctx_, TimeShare::optimizer);
  const Scalars& s = one.scalars;
  global_grad_square(ctx_, s.square, parameters_, config_);
  clip_scale(s.grad_scale, s.square, settings_.clip_grad_norm, ctx_.stream);
  optimizer_step(ctx_, parameters_, settings_.optimizer, step, s.grad_scale);
  one.sums.start(s.sums, ctx_.stream);
  ++n_begun_;
}

StepResult TrainStep::result() {
  CHECK(under_way() > 0, "no step is under way");
  UnderWay& one = ring(n_ended_++);
  const StepResult result = fetch(one);
  CHECK(std::isfinite(result.loss) && std::isfinite(result.grad_norm),
        "step {}: the loss is {} and the gradient norm {}; training has diverged (a smaller --lr "
        "or a longer --warmup-steps helps)",
        one.step, result.loss, result.grad_norm);
  return result;
}

TrainStep::Evaluation TrainStep::evaluate(const SampleSource& source, std::int64_t first,
                                          std::int64_t n, const Predicted& predicted) {
  std::int64_t n_labels = 0;
  const double loss = loss_of([&](UnderWay& one) {
    run(one, source,
        {.kind = ScheduleKind::forward_only,
         .first = first,
         .n = n,
         .step = 0,
         .train = false,
         .ready = nullptr,
         .predicted = predicted});
    n_labels = one.n_labels;
  });
  return {loss, n_labels};
}

}  // namespace weft
