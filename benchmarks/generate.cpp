// Prefill and decoding on random weights. A decode step must read every weight once and the cached keys and values: its share is of the
// measured read bandwidth.
#include <algorithm>
#include <chrono>

#include "benchmarks/bench.h"
#include "core/rng.h"
#include "infer/engine.h"
#include "model/hf_weights.h"
#include "model/sizes.h"

namespace weft {
namespace {

std::vector<GenerationRequest> requests(const BenchRun& run, std::int64_t n, std::int64_t prompt_tokens, std::int64_t new_tokens) {
  std::vector<GenerationRequest> list;
  for (std::int64_t i = 0; i < n; ++i) {
    GenerationRequest r;
    for (std::int64_t t = 0; t < prompt_tokens; ++t)
      r.ids.push_back(static_cast<std::int32_t>(mix64(static_cast<std::uint64_t>(i * 8191 + t)) % static_cast<std::uint64_t>(run.config.vocab)));
    r.options.max_new_tokens = new_tokens;
    list.push_back(std::move(r));
  }
  return list;
}

}  // namespace

void bench_generate(const BenchRun& run) {
  const BenchOptions& o = run.options;
  const DType dtype = o.dtype == "bf16" ? DType::bf16 : o.dtype == "fp16" ? DType::f16 : DType::f32;
  const Context ctx = {.grid = run.grid, .stream = run.stream, .precision = Precision::fp32, .clock = nullptr, .observer = {}};
  Parameters parameters(run.config, run.grid, dtype, Purpose::inference);
  if (dtype == DType::f32) parameters.init_weights(0);
  Engine engine(ctx, run.config, parameters, nullptr);
  const std::int64_t mine = split_range(o.sequences, run.grid.shape().dp, run.grid.dp().rank()).size();
  const auto time = [&](std::int64_t prompt_tokens, std::int64_t new_tokens) {
    const std::vector<GenerationRequest> list = requests(run, mine, prompt_tokens, new_tokens);
    return median_seconds(run.grid, run.stream, o.repeats, [&] { engine.run(list, [](std::size_t, std::int64_t, const Completion&) {}); });
  };
  const double prefill = time(o.prompt_tokens, 1), whole = time(o.prompt_tokens, 1 + o.new_tokens);
  const double step = (whole - prefill) / static_cast<double>(o.new_tokens);
  const auto sequences = static_cast<double>(o.sequences);
  const double prompt = static_cast<double>(o.prompt_tokens) * sequences;
  const double flops = prompt * forward_flops_per_token(run.config, o.prompt_tokens);
  run.report({fmt::format("prefill, {} x {} tokens, {}", o.sequences, o.prompt_tokens, o.dtype), prompt / prefill, "tok/s", flops / prefill / run.peaks.matmul_fp32, "fp32 matmul",
              {{"seconds", prefill}}});
  const GridShape one = {};
  const double cached = static_cast<double>(kv_bytes_per_token(run.config, one, 0, 0)) * (static_cast<double>(o.prompt_tokens) + static_cast<double>(o.new_tokens) / 2) * sequences;
  const double bytes = static_cast<double>(decode_weight_bytes(run.config, dtype)) * run.grid.shape().dp + cached;
  const double memory_s = bytes / run.peaks.read_bytes_per_s, compute_s = sequences * forward_flops_per_token(run.config, o.prompt_tokens) / run.peaks.matmul_fp32;
  run.report({fmt::format("decode, {} sequences, {}", o.sequences, o.dtype), sequences / step, "tok/s", std::max(memory_s, compute_s) / step,
              memory_s >= compute_s ? "memory reads" : "fp32 matmul", {{"seconds", step}, {"bytes", bytes}, {"bytes_per_s", bytes / step}}});
}

}  // namespace weft
