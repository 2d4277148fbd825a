#include "benchmarks/bench.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/hardware.h"
#include "core/option_words.h"
#include "kernels/peak.h"
#include "model/limits.h"
#include "model/schedule.h"
#include "model/stage.h"

namespace weft {

void BenchOptions::visit(FieldVisitor& v) {
  v.group("model");
  v.field("model", model,
          "HF directory, GGUF file or Weft checkpoint (.h5) whose sizes to take; "
          "unset: the sizes below");
  v.field("layers", layers, Integers{1, kMaxLayers}, "blocks (default: GPT-2 124M)");
  v.field("width", width, Integers{1, kMaxWidth}, "model width");
  v.field("heads", heads, Integers{1, kMaxHeads}, "attention heads");
  v.field("vocab", vocab, Integers{1, kMaxVocab}, "vocabulary");
  v.field("context", context, Integers{1, kMaxContext}, "tokens of a sequence (step, kernels)");
  v.group("measurement");
  v.field("batch_size", batch_size, Integers{1, 1 << 24},
          "sequences of a step, over the whole grid");
  v.field("micro_batch_size", micro_batch_size, Integers{0, 1 << 24},
          "sequences of a rank at a time; 0: all of its share (pp > 1: an eighth)");
  v.field("prompt_tokens", prompt_tokens, Integers{1, kMaxContext},
          "tokens of each prompt (generate)");
  v.field("new_tokens", new_tokens, Integers{1, kMaxContext},
          "new tokens of each continuation (generate)");
  v.field("sequences", sequences, Integers{1, 1 << 24}, "continuations at once (generate)");
  v.field("repeats", repeats, Integers{1}, "counted repeats; the median is reported");
  v.group("parallel");
  v.field("tp", tp, kGridAxis, "tensor-parallel ranks");
  v.field("pp", pp, kGridAxis, "pipeline-parallel ranks");
  v.field("dp", dp, kGridAxisOrLeft, "data-parallel ranks; 0: ranks / (tp * pp)");
  v.field("threads", threads, kThreads, "threads of a rank; 0: cores of the host / ranks on it");
  v.field("dtype", dtype, Words{"fp32", "bf16", "fp16"},
          "arithmetic of matrix products (step), how weights are held (generate; it alone takes "
          "fp16)");
  v.field("recompute", recompute, kRecomputes, "activations recomputed in backward");
  v.field("pipeline_schedule", pipeline_schedule, pipeline_schedules(),
          "order of micro-batches in a pipeline");
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

const char* matmul_peak_name(Precision precision) {
  return precision == Precision::bf16 ? "bf16 matmul" : "fp32 matmul";
}

Peaks::Peaks(const Grid& grid, Stream& stream)
    : grid_(grid),
      stream_(stream),
      probe_fp32_(Precision::fp32, stream),
      probe_bf16_(Precision::bf16, stream),
      probe_reads_(stream) {
  for (int i = 0; i < 4; ++i) {
    sample_matmul(Precision::fp32);
    sample_matmul(Precision::bf16);
    sample_reads();
  }
}

// Ranks that share cores and memory measure at the same time.
double Peaks::over_all(const std::function<double()>& measure) const {
  grid_.world().barrier();
  return grid_.world().all_reduce_value(measure(), ReduceOp::sum, stream_);
}

void Peaks::sample_matmul(Precision precision) {
  MatmulProbe& probe = precision == Precision::bf16 ? probe_bf16_ : probe_fp32_;
  matmul(precision).sample(over_all([&] { return probe.sample(); }));
}

void Peaks::sample_reads() {
  reads_.sample(over_all([&] { return probe_reads_.sample(); }));
}

void bench_machine(const BenchRun& run) {
  for (std::int64_t i = 0; i < run.options.repeats; ++i) {
    run.peaks.sample_matmul(Precision::fp32);
    run.peaks.sample_matmul(Precision::bf16);
    run.peaks.sample_reads();
  }
  const double fp32 = run.peaks.matmul(Precision::fp32).rate(),
               bf16 = run.peaks.matmul(Precision::bf16).rate();
  run.report({.name = "matmul fp32",
              .value = fp32 / 1e9,
              .unit = "GFLOP/s",
              .peak = "",
              .more = {{"library", matmul_library()}}});
  run.report({.name = "matmul bf16",
              .value = bf16 / 1e9,
              .unit = "GFLOP/s",
              .peak = "",
              .more = {{"beside_fp32", bf16 / fp32}}});
  run.report({.name = "memory reads",
              .value = run.peaks.reads().rate() / 1e9,
              .unit = "GB/s",
              .peak = "",
              .more = {}});
}

}  // namespace weft
