#include "benchmarks/bench.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/hardware.h"
#include "kernels/peak.h"

namespace weft {

void BenchOptions::visit(FieldVisitor& v) {
  v.group("model");
  v.field("model", model,
          "HF directory or Weft checkpoint (.h5) whose sizes to take; unset: the sizes below");
  v.field("layers", layers, "blocks (default: GPT-2 124M)");
  v.field("width", width, "model width");
  v.field("heads", heads, "attention heads");
  v.field("vocab", vocab, "vocabulary");
  v.field("context", context, "tokens of a sequence (step, kernels)");
  v.group("measurement");
  v.field("batch_size", batch_size, "sequences of a step, over the whole grid");
  v.field("micro_batch_size", micro_batch_size,
          "sequences of a rank at a time; 0: all of its share (pp > 1: an eighth)");
  v.field("prompt_tokens", prompt_tokens, "tokens of each prompt (generate)");
  v.field("new_tokens", new_tokens, "new tokens of each continuation (generate)");
  v.field("sequences", sequences, "continuations at once (generate)");
  v.field("repeats", repeats, "counted repeats; the median is reported");
  v.group("parallel");
  v.field("tp", tp, "tensor-parallel ranks");
  v.field("pp", pp, "pipeline-parallel ranks");
  v.field("dp", dp, "data-parallel ranks; 0: ranks / (tp * pp)");
  v.field("threads", threads, "threads of a rank; 0: cores of the host / ranks on it");
  v.field("dtype", dtype,
          "step: arithmetic of matrix products, fp32 or bf16; generate: how weights are held, also "
          "fp16");
  v.field("recompute", recompute, "activations recomputed in backward: none, block");
  v.field("pipeline_schedule", pipeline_schedule, "gpipe, 1f1b");
  v.group("output");
  v.field("json", json, "JSON lines on stdout");
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double seconds_of(const Grid& grid, Stream& stream, const std::function<void()>& body) {
  grid.world().barrier();
  const auto start = std::chrono::steady_clock::now();
  body();
  const double mine =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return grid.world().all_reduce_value(mine, ReduceOp::max, stream);
}

double median_seconds(const Grid& grid, Stream& stream, std::int64_t repeats,
                      const std::function<void()>& body) {
  std::vector<double> times;
  for (std::int64_t i = 0; i <= repeats; ++i) {
    const double seconds = seconds_of(grid, stream, body);
    if (i > 0) times.push_back(seconds);
  }
  return median(std::move(times));
}

Peaks measure_peaks(const Grid& grid, Stream& stream) {
  const auto over_all = [&](const auto& measure) {
    grid.world().barrier();
    return grid.world().all_reduce_value(measure(), ReduceOp::sum, stream);
  };
  return {over_all([&] { return measured_matmul_flops(Precision::fp32, stream); }),
          over_all([&] { return measured_matmul_flops(Precision::bf16, stream); }),
          over_all([&] { return measured_read_bytes_per_s(stream); })};
}

void bench_machine(const BenchRun& run) {
  run.report({"matmul fp32",
              run.peaks.matmul_fp32 / 1e9,
              "GFLOP/s",
              0,
              "",
              {{"library", matmul_library()}, {"cpu", cpu_model()}}});
  run.report({"matmul bf16",
              run.peaks.matmul_bf16 / 1e9,
              "GFLOP/s",
              run.peaks.matmul_bf16 / run.peaks.matmul_fp32,
              "fp32 matmul",
              {}});
  run.report({"memory reads", run.peaks.read_bytes_per_s / 1e9, "GB/s", 0, "", {}});
}

}  // namespace weft
