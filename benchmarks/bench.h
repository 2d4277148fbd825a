// What `weft bench WHAT` measures. Every number comes with its unit, its share of a named peak of
// this machine, sampled in the same run, and the command that made it. Kernels and steps share
// their FLOPs and bytes with model/sizes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/fields.h"
#include "io/json.h"
#include "kernels/peak.h"
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

// Peaks of all ranks together: the best samples of the run so far. Each case takes some beside it,
// and what it reaches itself counts as one, so that no share is above 1.
class Peaks {
 public:
  Peaks(const Grid& grid, Stream& stream);  // the first samples. Collective, as all that samples

  BestRate& matmul(Precision precision) {  // FLOP/s
    return precision == Precision::bf16 ? matmul_bf16_ : matmul_fp32_;
  }
  BestRate& reads() { return reads_; }  // bytes/s
  void sample_matmul(Precision precision);
  void sample_reads();

 private:
  double over_all(const std::function<double()>& measure) const;
  const Grid& grid_;
  Stream& stream_;
  MatmulProbe probe_fp32_, probe_bf16_;
  ReadProbe probe_reads_;
  BestRate matmul_fp32_, matmul_bf16_, reads_;
};

struct Measurement {
  std::string name;
  double value = 0;
  std::string unit;
  double share = 0;      // of the peak; 0 where none applies
  std::string peak;      // "fp32 matmul", "memory reads", …
  double peak_rate = 0;  // the peak when this was measured: FLOP/s or bytes/s
  OrderedJson more;      // further fields of the JSON line
};

struct BenchRun {
  const BenchOptions& options;
  const Grid& grid;
  Stream& stream;
  ModelConfig config;
  Peaks& peaks;
  std::function<void(const Measurement&)> report;  // prints on the first rank
};

void bench_machine(const BenchRun& run);
void bench_kernels(const BenchRun& run);
void bench_comm(const BenchRun& run);
void bench_step(const BenchRun& run);
void bench_generate(const BenchRun& run);

double median(std::vector<double> values);
const char* matmul_peak_name(Precision precision);  // "fp32 matmul"

// Seconds of one call: ranks start it together, the slowest counts.
double seconds_of(const Grid& grid, Stream& stream, const std::function<void()>& body);

// Median seconds of `repeats` calls after one that is not counted.
double median_seconds(const Grid& grid, Stream& stream, std::int64_t repeats,
                      const std::function<void()>& body);

}  // namespace weft
