// What `weft bench WHAT` measures. Every number comes with its unit, its share of a named peak of
// this machine, measured in the same run, and the command that made it. Kernels and steps share
// their FLOPs and bytes with model/sizes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/fields.h"
#include "io/json.h"
#include "model/config.h"
#include "model/context.h"

namespace weft {

struct BenchOptions {
  std::string model;  // HF directory or checkpoint; empty: a fresh model of the sizes below
  std::int64_t layers = 12, width = 768, heads = 12, vocab = 50257, context = 1024;
  std::int64_t batch_size = 1, micro_batch_size = 0, repeats = 5;
  std::int64_t prompt_tokens = 16, new_tokens = 64, sequences = 1;
  std::int64_t tp = 1, pp = 1, dp = 0, threads = 0;
  std::string dtype = "fp32", recompute = "none", pipeline_schedule = "1f1b";
  bool json = false;

  void visit(FieldVisitor& v);
};

// Peaks of all ranks together, measured at the start of the run.
struct Peaks {
  double matmul_fp32 = 0, matmul_bf16 = 0;  // FLOP/s
  double read_bytes_per_s = 0;
};
Peaks measure_peaks(const Grid& grid, Stream& stream);

struct Measurement {
  std::string name;
  double value = 0;
  std::string unit;
  double share = 0;  // of the peak; 0 where none applies
  std::string peak;  // "fp32 matmul", "memory reads", …
  OrderedJson more;  // further fields of the JSON line
};

struct BenchRun {
  const BenchOptions& options;
  const Grid& grid;
  Stream& stream;
  ModelConfig config;
  Peaks peaks;
  std::function<void(const Measurement&)> report;  // prints on the first rank
};

void bench_machine(const BenchRun& run);
void bench_kernels(const BenchRun& run);
void bench_comm(const BenchRun& run);
void bench_step(const BenchRun& run);
void bench_generate(const BenchRun& run);

double median(std::vector<double> values);

// Seconds of one call: ranks start it together, the slowest counts.
double seconds_of(const Grid& grid, Stream& stream, const std::function<void()>& body);

// Median seconds of `repeats` calls after one that is not counted.
double median_seconds(const Grid& grid, Stream& stream, std::int64_t repeats,
                      const std::function<void()>& body);

}  // namespace weft
