// Prefill and decoding on random weights. A decode step must read every weight once and the cached
// keys and values: its share is of the measured read bandwidth.
#include <algorithm>
#include <cstring>

#include "benchmarks/bench.h"
#include "core/option_words.h"
#include "core/rng.h"
#include "infer/engine.h"
#include "infer/score.h"
#include "kernels/peak.h"
#include "kernels/work.h"
#include "model/sizes.h"

namespace weft {
namespace {

std::vector<GenerationRequest> requests(const BenchRun& run, std::int64_t n,
                                        std::int64_t prompt_tokens, std::int64_t new_tokens) {
  std::vector<GenerationRequest> list;
  for (std::int64_t i = 0; i < n; ++i) {
    GenerationRequest r;
    for (std::int64_t t = 0; t < prompt_tokens; ++t)
      r.ids.push_back(static_cast<std::int32_t>(mix64(static_cast<std::uint64_t>(i * 8191 + t)) %
                                                static_cast<std::uint64_t>(run.config.vocab)));
    r.options.max_new_tokens = new_tokens;
    list.push_back(std::move(r));
  }
  return list;
}

// What this rank has done so far: seconds inside its collectives and receives, which in a pipeline
// are also the wait for the stage before, and FLOPs of its matrix products.
struct Account {
  double waited_s, flops;
};
Account account(const BenchRun& run) {
  return {run.grid.tp().seconds() + run.grid.pp().seconds() + run.grid.replica().seconds(),
          matmul_flops_done(run.stream)};
}

DType held_dtype(const BenchRun& run) { return dtype_of(run.options.dtype).value_or(DType::f32); }

Context context_of(const BenchRun& run) {
  return {.grid = run.grid,
          .stream = run.stream,
          .precision = run.options.deterministic ? Precision::fp32_fixed : Precision::fp32,
          .act = activation_dtype(run.stream.device(), held_dtype(run)),
          .clock = nullptr,
          .observer = {}};
}

// Any finite weights do, but they must lie in memory of their own: pages never written are all one
// page of zeros.
void give_weights(const BenchRun& run, Parameters& parameters) {
  if (held_dtype(run) == DType::f32)
    parameters.init_weights(0, run.stream);
  else
    for (LocalParameter& p : parameters.list()) fill(p.weight, 0.003, run.stream);
}

// Of the cache and of one pass's activations on this rank. Collective over a replica.
std::size_t pass_bytes(const Context& ctx, const BenchRun& run,
                       const std::vector<GenerationRequest>& list, const EngineLimits& limits) {
  if (list.empty()) return 0;
  return InferencePass::plan_bytes(run.config, run.grid,
                                   plan_inference(ctx, run.config, list, limits));
}

}  // namespace

void bench_generate(const BenchRun& run) {
  const BenchOptions& o = run.options;
  const DType dtype = held_dtype(run);
  const Context ctx = context_of(run);
  const Precision products = product_precision(ctx);
  Parameters parameters(run.config, run.grid, held_dtype(run), ParameterUse::inference, 1,
                        run.stream.device());
  give_weights(run, parameters);
  parameters.to_panels(run.stream);
  const std::optional<DType> kv = value_of(kCacheWords, "--kv-cache-dtype", o.kv_cache_dtype);
  CHECK_USER(!kv || *kv == ctx.act || run.stream.device().type == DeviceType::cpu,
             "--kv-cache-dtype is {}; a GPU holds keys and values as activations",
             o.kv_cache_dtype);
  const EngineLimits limits = {.max_batch = std::max<std::int64_t>(o.sequences, 32), .kv = kv};
  Engine engine(ctx, run.config, parameters, nullptr, limits);
  const std::int64_t mine =
      split_range(o.sequences, run.grid.shape().dp, run.grid.dp().rank()).size();
  // A shared machine's bandwidth drifts, and gives more for a moment than for long: beside every
  // repeat it is measured for about as long, on the weights themselves; the best of these counts.
  const ConstView memory(parameters.list().front().weight.data(), DType::f32,
                         {static_cast<std::int64_t>(parameters.bytes() / 4)}, run.stream.device());
  const auto read_peak = [&] {
    run.grid.world().barrier();
    return run.grid.world().all_reduce_value(sustained_read_bytes_per_s(memory, 0.5, run.stream),
                                             ReduceOp::sum, run.stream);
  };
  const std::vector<GenerationRequest> prompts = requests(run, mine, o.prompt_tokens, 1),
                                       whole =
                                           requests(run, mine, o.prompt_tokens, 1 + o.new_tokens);
  const auto time = [&](const std::vector<GenerationRequest>& list) {
    return seconds_of(run.grid, run.stream, [&] {
      engine.run(list, [](std::size_t, std::int64_t, const Completion&) {});
    });
  };
  BestRate reads;  // bytes/s that last
  BestRate& matmul = run.peaks.matmul(products);
  std::vector<double> prefills, steps;
  double waited_prefill = 0, waited_step = 0, counted_prefill = 0, counted_step = 0;
  for (std::int64_t i = 0; i <= o.repeats; ++i) {  // the first one is not counted
    reads.sample(read_peak());
    run.peaks.sample_matmul(products);
    const Account begin = account(run);
    const double prefill_s = time(prompts);
    const Account between = account(run);
    const double whole_s = time(whole), decode_s = whole_s - prefill_s;
    const Account end = account(run);
    if (i == 0) continue;
    prefills.push_back(prefill_s);
    steps.push_back(decode_s / static_cast<double>(o.new_tokens));
    const double prefill_wait = between.waited_s - begin.waited_s,
                 decode_wait = end.waited_s - between.waited_s - prefill_wait;
    const auto share = [](double part, double all) {  // of noisy differences
      return all > 0 ? std::clamp(part / all, 0.0, 1.0) : 0.0;
    };
    waited_prefill += share(prefill_wait, prefill_s) / static_cast<double>(o.repeats);
    waited_step += share(decode_wait, decode_s) / static_cast<double>(o.repeats);
    counted_prefill = between.flops - begin.flops;
    counted_step =
        (end.flops - between.flops - counted_prefill) / static_cast<double>(o.new_tokens);
  }
  const double prefill = median(prefills), step = median(steps);
  const auto sequences = static_cast<double>(o.sequences);
  const auto sum = [&](double value) {
    return run.grid.world().all_reduce_value(value, ReduceOp::sum, run.stream);
  };
  const OrderedJson held =
      fullest_rank(run.grid, run.stream,
                   {{"weights", parameters.bytes()},
                    {"cache_and_activations", pass_bytes(ctx, run, whole, limits)}});
  // Of a token with T before it: a third of training's.
  const auto costs = [&](std::int64_t T, double tokens_per_s, double waited) {
    return GridCosts{
        .mfu = customary_flops_per_token(run.config, T) / 3 * tokens_per_s / matmul.rate(),
        .comm_share = mean_over_ranks(run.grid, run.stream, waited),
        .bubble = 0,
        .bytes = held};
  };
  const double prompt_flops = forward_flops(run.config, {.n = o.sequences, .rows = o.prompt_tokens},
                                            o.sequences, o.sequences);
  OrderedJson prefill_more = {{"seconds", prefill}, {"flops", prompt_flops / prefill}};
  const bool counts = run.stream.device().type == DeviceType::cpu;  // products count themselves
  if (counts) prefill_more["flops_counted"] = sum(counted_prefill) / prefill;
  const double prefill_share = matmul.share(prompt_flops / prefill);
  run.report(
      {.name = fmt::format("prefill, {} x {} tokens, {}", o.sequences, o.prompt_tokens, o.dtype),
       .value = static_cast<double>(o.prompt_tokens) * sequences / prefill,
       .unit = "tok/s",
       .share = prefill_share,
       .peak = matmul_peak_name(products),
       .peak_rate = matmul.rate(),
       .more = prefill_more,
       .costs = costs(o.prompt_tokens, static_cast<double>(o.prompt_tokens) * sequences / prefill,
                      waited_prefill)});
  const std::int64_t halfway = o.prompt_tokens + o.new_tokens / 2;  // tokens in the cache
  const double bytes =
      static_cast<double>(decode_weight_bytes(run.config, dtype)) * run.grid.shape().dp +
      static_cast<double>(decode_cache_bytes(run.config, kv.value_or(ctx.act), halfway)) *
          sequences;
  const double flops =
      forward_flops(run.config, {.n = o.sequences, .rows = 1, .cached = halfway}, o.sequences);
  const bool by_memory = bytes / reads.rate() >= flops / matmul.rate();
  BestRate& peak = by_memory ? reads : matmul;
  OrderedJson more = {
      {"seconds", step}, {"bytes", bytes}, {"bytes_per_s", bytes / step}, {"flops", flops / step}};
  if (counts) more["flops_counted"] = sum(counted_step) / step;
  const double share = peak.share((by_memory ? bytes : flops) / step);
  run.report({.name = fmt::format("decode, {} sequences, {}", o.sequences, o.dtype),
              .value = sequences / step,
              .unit = "tok/s",
              .share = share,
              .peak = by_memory ? "sustained memory reads" : matmul_peak_name(products),
              .peak_rate = peak.rate(),
              .more = more,
              .costs = costs(halfway, sequences / step, waited_step)});
}

void bench_score(const BenchRun& run) {
  const BenchOptions& o = run.options;
  const Context ctx = context_of(run);
  const Precision products = product_precision(ctx);
  Parameters parameters(run.config, run.grid, held_dtype(run), ParameterUse::inference, 1,
                        run.stream.device());
  give_weights(run, parameters);
  parameters.to_panels(run.stream);
  const std::int64_t mine =
      split_range(o.sequences, run.grid.shape().dp, run.grid.dp().rank()).size();
  std::vector<TokenizedText> texts;
  for (GenerationRequest& r : requests(run, mine, o.prompt_tokens, 0))
    texts.push_back({std::move(r.ids), {}});
  BestRate& matmul = run.peaks.matmul(products);
  std::vector<double> all;
  for (std::int64_t i = 0; i <= o.repeats; ++i) {  // the first one is not counted
    run.peaks.sample_matmul(products);
    const double seconds = seconds_of(run.grid, run.stream, [&] {
      score_texts(ctx, run.config, parameters, texts, [](std::size_t, std::span<const float>) {});
    });
    if (i > 0) all.push_back(seconds);
  }
  const double seconds = median(all),
               flops = forward_flops(run.config, {.n = o.sequences, .rows = o.prompt_tokens},
                                     o.sequences * (o.prompt_tokens - 1));
  run.report(
      {.name = fmt::format("score, {} x {} tokens, {}", o.sequences, o.prompt_tokens, o.dtype),
       .value = static_cast<double>(o.prompt_tokens * o.sequences) / seconds,
       .unit = "tok/s",
       .share = matmul.share(flops / seconds),
       .peak = matmul_peak_name(products),
       .peak_rate = matmul.rate(),
       .more = {{"seconds", seconds}, {"flops", flops / seconds}}});
}

}  // namespace weft
