// Prefill and decoding on random weights. A decode step must read every weight once and the cached
// keys and values: its share is of the measured read bandwidth.
#include <algorithm>
#include <cstring>

#include "benchmarks/bench.h"
#include "core/rng.h"
#include "infer/engine.h"
#include "kernels/peak.h"
#include "model/hf_weights.h"
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

}  // namespace

void bench_generate(const BenchRun& run) {
  const BenchOptions& o = run.options;
  const DType dtype = o.dtype == "bf16" ? DType::bf16 : o.dtype == "fp16" ? DType::f16 : DType::f32;
  const Context ctx = {.grid = run.grid,
                       .stream = run.stream,
                       .precision = Precision::fp32,
                       .clock = nullptr,
                       .observer = {}};
  Parameters parameters(run.config, run.grid, dtype, Purpose::inference);
  // Any finite weights do, but they must lie in memory of their own: pages never written are all
  // one page of zeros.
  if (dtype == DType::f32)
    parameters.init_weights(0, run.stream);
  else
    for (LocalParameter& p : parameters.list())
      std::memset(p.weight.data(), dtype == DType::bf16 ? 0x3B : 0x1B, p.weight.bytes());
  Engine engine(ctx, run.config, parameters, nullptr);
  const std::int64_t mine =
      split_range(o.sequences, run.grid.shape().dp, run.grid.dp().rank()).size();
  // A shared machine's bandwidth drifts, and gives more for a moment than for long: beside every
  // repeat it is measured for about as long, on the weights themselves.
  const ConstView memory(parameters.list().front().weight.data(), DType::f32,
                         {static_cast<std::int64_t>(parameters.bytes() / 4)});
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
  std::vector<double> prefills, steps, reads;
  for (std::int64_t i = 0; i <= o.repeats; ++i) {
    const double read = read_peak(), prefill_s = time(prompts),
                 step_s = (time(whole) - prefill_s) / static_cast<double>(o.new_tokens);
    if (i == 0) continue;
    prefills.push_back(prefill_s);
    steps.push_back(step_s);
    reads.push_back(read * step_s);  // bytes that could be read in the step
  }
  const double prefill = median(prefills), step = median(steps), readable = median(reads);
  const auto sequences = static_cast<double>(o.sequences);
  const double prompt = static_cast<double>(o.prompt_tokens) * sequences;
  const double head = head_flops_per_token(run.config);
  const double flops =
      prompt * (forward_flops_per_token(run.config, o.prompt_tokens) - head) + sequences * head;
  run.report({fmt::format("prefill, {} x {} tokens, {}", o.sequences, o.prompt_tokens, o.dtype),
              prompt / prefill,
              "tok/s",
              flops / prefill / run.peaks.matmul_fp32,
              "fp32 matmul",
              {{"seconds", prefill}}});
  const GridShape one = {};
  const double cached =
      static_cast<double>(kv_bytes_per_token(run.config, one, 0, 0)) *
      (static_cast<double>(o.prompt_tokens) + static_cast<double>(o.new_tokens) / 2) * sequences;
  const double bytes =
      static_cast<double>(decode_weight_bytes(run.config, dtype)) * run.grid.shape().dp + cached;
  const double memory_s = bytes / (readable / step),
               compute_s = sequences * forward_flops_per_token(run.config, o.prompt_tokens) /
                           run.peaks.matmul_fp32;
  run.report({fmt::format("decode, {} sequences, {}", o.sequences, o.dtype),
              sequences / step,
              "tok/s",
              std::max(memory_s, compute_s) / step,
              memory_s >= compute_s ? "sustained memory reads" : "fp32 matmul",
              {{"seconds", step}, {"bytes", bytes}, {"bytes_per_s", bytes / step}}});
}

}  // namespace weft
