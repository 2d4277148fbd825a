#include "benchmarks/bench.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/option_words.h"
#include "core/system/hardware.h"
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
          "tokens of each prompt or text (generate, score)");
  v.field("new_tokens", new_tokens, Integers{1, kMaxContext},
          "new tokens of each continuation (generate)");
  v.field("sequences", sequences, Integers{1, 1 << 24},
          "continuations at once (generate), texts (score)");
  v.field("repeats", repeats, Integers{1}, "counted repeats; the median is reported");
  v.field("max_bytes", max_bytes, Integers{0, std::int64_t{1} << 36, "16 MiB, of GPUs 1 GiB"},
          "largest size of a collective (comm)");
  v.field("machine", machine,
          "a description to print beside what is measured: name or .toml file; unset: WEFT_MACHINE "
          "(machine, comm)");
  v.group("parallel");
  v.field("tp", grids.tp,
          "tensor-parallel ranks (default 1); a list, 1,2,4, here and below makes one table of all "
          "combinations that fit (step, generate)");
  v.field("pp", grids.pp, "pipeline-parallel ranks (default 1)");
  v.field("dp", grids.dp,
          "data-parallel ranks; 0 (default): ranks / (tp * pp). In a list, ranks that a grid does "
          "not need wait");
  v.field("threads", threads, kThreads, "threads of a rank; 0: cores of the host / ranks on it");
  v.field("device", device, kDevices,
          "what comm, step and generate run on; unset: a GPU where one can be used, else the CPU");
  v.field("gpu_map", gpu_map, kGpuMapHelp);
  v.field("comm_timeout", comm_timeout, kCommTimeout, kCommTimeoutHelp);
  v.field("dtype", dtype, Words{"fp32", "bf16", "fp16"},
          "arithmetic of matrix products (step), how weights are held (generate and score; they "
          "alone take fp16)");
  v.field("kv_cache_dtype", kv_cache_dtype, kCacheDTypes,
          "how cached keys and values are held (generate)");
  v.field("deterministic", deterministic,
          "bits that depend neither on the grid nor on the batch (generate, score)");
  v.field("recompute", recompute, kRecomputes, "activations recomputed in backward");
  v.field("pipeline_schedule", pipeline_schedule, pipeline_schedules(),
          "order of micro-batches in a pipeline");
  v.group("output");
  v.field("out", out, "machine description (.toml) of this host, as measured (machine)");
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

Precision product_precision(const Context& ctx) {
  return ctx.act == DType::bf16 ? Precision::bf16 : ctx.precision;
}

const char* matmul_peak_name(Precision precision) {
  return precision == Precision::bf16 ? "bf16 matmul" : "fp32 matmul";
}

namespace {
constexpr int kFirstSamples = 4;  // more than one each: the first ones warm caches and clocks
}

// Ranks that share cores and memory measure at the same time.
void Peaks::sample(Peak& peak, int times, const std::function<double()>& measure) const {
  for (int i = 0; i < times; ++i) {
    grid_.world().barrier();
    const double mine = measure();
    peak.own.sample(mine);
    peak.all.sample(grid_.world().all_reduce_value(mine, ReduceOp::sum, stream_));
  }
}

void Peaks::sample_matmul(Precision precision) {
  MatmulPeak& peak = matmul_of(precision);
  const bool is_first = !peak.probe;
  if (is_first) peak.probe.emplace(precision, stream_);
  sample(peak, is_first ? kFirstSamples : 1, [&] { return peak.probe->sample(); });
}

void Peaks::sample_reads() {
  const bool is_first = !probe_reads_;
  if (is_first) probe_reads_.emplace(stream_);
  sample(reads_, is_first ? kFirstSamples : 1, [&] { return probe_reads_->sample(); });
}

std::vector<double> of_every_rank(const Grid& grid, Stream& stream, double mine) {
  std::vector<double> all(static_cast<std::size_t>(grid.world().size()));
  grid.world().all_gather(View(all.data(), Dims{grid.world().size()}), ConstView(&mine, Dims{1}),
                          stream);
  return all;
}

double mean_over_ranks(const Grid& grid, Stream& stream, double mine) {
  return grid.world().all_reduce_value(mine, ReduceOp::sum, stream) / grid.world().size();
}

OrderedJson fullest_rank(const Grid& grid, Stream& stream, const std::vector<NamedBytes>& mine) {
  double total = 0;
  for (const NamedBytes& part : mine) total += static_cast<double>(part.bytes);
  const std::vector<double> totals = of_every_rank(grid, stream, total);
  const auto fullest = std::ranges::max_element(totals) - totals.begin();
  OrderedJson bytes;
  for (const NamedBytes& part : mine)
    bytes[part.name] = static_cast<std::int64_t>(of_every_rank(
        grid, stream, static_cast<double>(part.bytes))[static_cast<std::size_t>(fullest)]);
  bytes["total"] = static_cast<std::int64_t>(totals[static_cast<std::size_t>(fullest)]);
  return bytes;
}

}  // namespace weft
