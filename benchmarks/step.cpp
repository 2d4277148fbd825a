// A training step of the model on this grid, on random tokens: forward, backward, gradient sums,
// clipping, AdamW.
#include <vector>

#include "benchmarks/bench.h"
#include "core/rng.h"
#include "core/system/hardware.h"
#include "kernels/work.h"
#include "model/sizes.h"
#include "train/step.h"

namespace weft {
namespace {

OrderedJson held_bytes(const BenchRun& run, const Parameters& parameters, std::size_t activations) {
  std::size_t weights = 0, gradients = 0, optimizer = 0;
  for (const LocalParameter& p : parameters.list()) {
    weights += p.weight.bytes() + p.weight_bf16.bytes();
    gradients += p.grad.bytes();
    optimizer += p.m.bytes() + p.v.bytes();
  }
  return fullest_rank(run.grid, run.stream,
                      {{"weights", weights},
                       {"gradients", gradients},
                       {"optimizer", optimizer},
                       {"activations", activations}});
}

}  // namespace

void bench_step(const BenchRun& run) {
  const BenchOptions& o = run.options;
  const bool bf16 = o.dtype == "bf16";
  const Device device = run.stream.device();
  const DType dtype = bf16 ? DType::bf16 : DType::f32;
  ShareClock clock;
  const Context ctx = {.grid = run.grid,
                       .stream = run.stream,
                       .precision = bf16 ? Precision::bf16 : Precision::fp32,
                       .act = activation_dtype(device, dtype),
                       .clock = &clock,
                       .observer = {}};
  const Precision products = product_precision(ctx);
  Parameters parameters(run.config, run.grid, dtype, ParameterUse::training, 1, device);
  parameters.init_weights(0, run.stream);
  parameters.refresh_bf16(run.stream);
  StepSettings settings;
  settings.batch_size = o.batch_size;
  settings.micro_batch_size = o.micro_batch_size;
  settings.T = o.context;
  settings.optimizer.lr = constant_lr(1e-4);
  settings.schedule = schedule_kind(o.pipeline_schedule);
  settings.recompute = value_of(kRecomputes, "--recompute", o.recompute);
  const std::vector<StageSchedule> pipeline = checked_schedule(settings, run.grid.shape());
  const ParametersPlan held =
      Parameters::plan(run.config, run.grid.shape(), run.grid.tp().rank(), run.grid.pp().rank(),
                       dtype, ParameterUse::training, device);
  TrainStep step(ctx, run.config, parameters, settings);
  const SampleSource source =
      next_tokens(o.context, [&](std::int64_t place, std::int32_t* ids, std::int32_t* labels) {
        for (std::int64_t t = 0; t < o.context; ++t) {
          const auto token = [&](std::int64_t i) {
            return static_cast<std::int32_t>(mix64(static_cast<std::uint64_t>(place * 4099 + i)) %
                                             static_cast<std::uint64_t>(run.config.vocab));
          };
          if (ids) ids[t] = token(t);
          if (labels) labels[t] = token(t + 1);
        }
      });
  std::int64_t number = 0;
  std::array<double, kTimeShares> shares{};
  double loss = 0, counted = 0;
  std::vector<double> times;
  for (std::int64_t i = 0; i <= o.repeats; ++i) {  // the first one is not counted
    run.peaks.sample_matmul(products);
    const double before = matmul_flops_done(run.stream);
    const double seconds = seconds_of(run.grid, run.stream, [&] {
      clock.start();
      loss = step.train(source, number * o.batch_size, number + 1).loss;
      ++number;
      shares = clock.stop();
    });
    counted = matmul_flops_done(run.stream) - before;
    if (i > 0) times.push_back(seconds);
  }
  run.peaks.sample_matmul(products);
  const double seconds = median(std::move(times));
  double total = 0;
  for (double s : shares) total += s;
  OrderedJson booked;
  for (std::size_t i = 0; i < kTimeShares; ++i)
    booked[std::string(kTimeShareNames[i])] =
        mean_over_ranks(run.grid, run.stream, shares[i] / total);
  const auto tokens = static_cast<double>(o.batch_size * o.context);
  const double flops = training_flops(
      run.config,
      {.n = TrainStep::computed_sequences(settings, run.grid.shape()), .rows = o.context},
      settings.recompute);
  BestRate& peak = run.peaks.matmul(products);
  const double share = peak.share(flops / seconds);
  OrderedJson more = {
      {"seconds", seconds},
      {"flops", flops / seconds},
      {"loss", loss},
      {"shares", booked},
      {"planned_bytes", held.bytes + TrainStep::plan_bytes(ctx, run.config, held, settings)},
      {"resident_bytes", resident_bytes()}};
  if (device.type == DeviceType::cpu)  // whose products count themselves
    more["flops_counted"] =
        run.grid.world().all_reduce_value(counted, ReduceOp::sum, run.stream) / seconds;
  if (run.grid.shape().pp > 1) {
    more["micro_batches"] = TrainStep::n_micro_batches(settings, run.grid.shape());
    more["computed_bubble"] = bubble_fraction(
        pipeline, stage_costs(run.config, run.grid.shape().pp, o.context, settings.recompute));
  }
  run.report(
      {.name = fmt::format("train step, {} x {} tokens, {}", o.batch_size, o.context, o.dtype),
       .value = tokens / seconds,
       .unit = "tok/s",
       .share = share,
       .peak = matmul_peak_name(products),
       .peak_rate = peak.rate(),
       .more = more,
       .costs = GridCosts{
           .mfu = customary_flops_per_token(run.config, o.context) * tokens / seconds / peak.rate(),
           .comm_share = booked["comm"],
           .bubble = booked["bubble"],
           .bytes = held_bytes(run, parameters, step.activation_bytes())}});
}

}  // namespace weft
