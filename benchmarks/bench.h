// What `weft bench WHAT` measures. Every number comes with its unit, its share of a named peak of
// this machine, sampled in the same run, and the command that made it. Kernels and steps share
// their FLOPs and bytes with model/sizes.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "benchmarks/grids.h"
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
  std::int64_t max_bytes = 0, threads = 0, comm_timeout = kCommTimeout_s;
  GridWords grids;
  std::string dtype = "fp32", recompute = "none", pipeline_schedule = "1f1b";
  std::string device, gpu_map, machine, out, kv_cache_dtype = "auto";
  bool json = false, deterministic = false;

  void visit(FieldVisitor& v);
};

// Peaks of all ranks of a grid together, and of this one: the best samples of the run so far. Each
// case takes some beside it, and what it reaches itself counts as one, so that no share is above 1.
class Peaks {
 public:
  Peaks(const Grid& grid, Stream& stream) : grid_(grid), stream_(stream) {}

  // Of what was sampled; 0 before.
  BestRate& matmul(Precision precision) { return matmul_of(precision).all; }  // FLOP/s
  BestRate& reads() { return reads_.all; }                                    // bytes/s
  // This rank's own, while the others measured too.
  double own_matmul(Precision precision) { return matmul_of(precision).own.rate(); }
  double own_reads() const { return reads_.own.rate(); }
  // The first call makes the probe and takes some samples more. Collective.
  void sample_matmul(Precision precision);
  void sample_reads();

 private:
  struct Peak {
    BestRate all, own;
  };
  struct MatmulPeak : Peak {
    std::optional<MatmulProbe> probe;
  };
  MatmulPeak& matmul_of(Precision precision) {
    return precision == Precision::bf16 ? bf16_ : fp32_;
  }
  void sample(Peak& peak, int times, const std::function<double()>& measure) const;
  const Grid& grid_;
  Stream& stream_;
  MatmulPeak fp32_, bf16_;
  Peak reads_;
  std::optional<ReadProbe> probe_reads_;
};

// What a row of the table of grids says beside its speed.
struct GridCosts {
  double mfu = 0;         // customary FLOPs over the measured peak
  double comm_share = 0;  // of the time: waiting for data of others, the mean over ranks
  double bubble = 0;  // of the time: waiting for a neighbour in the pipeline, where that is known
  OrderedJson bytes;  // of the rank that holds the most, by what they are for; "total" last
};

struct Measurement {
  std::string name;
  double value = 0;
  std::string unit;
  double share = 0;       // of the peak; 0 where none applies
  std::string peak;       // "fp32 matmul", "memory reads", …
  double peak_rate = 0;   // the peak when this was measured: FLOP/s or bytes/s
  OrderedJson more;       // further fields of the JSON line
  std::string note = "";  // ends the line of text
  std::optional<GridCosts> costs = std::nullopt;  // a row of a table of grids
};

struct BenchRun {
  const BenchOptions& options;
  const Grid& grid;
  Stream& stream;
  ModelConfig config;
  Peaks& peaks;
  std::vector<std::string> hosts;                  // of each rank of the grid
  int threads;                                     // of a rank
  std::function<void(const Measurement&)> report;  // prints on the first rank
};

void bench_machine(const BenchRun& run);
void bench_kernels(const BenchRun& run);
void bench_comm(const BenchRun& run);
void bench_step(const BenchRun& run);
void bench_generate(const BenchRun& run);
void bench_score(const BenchRun& run);

double median(std::vector<double> values);
const char* matmul_peak_name(Precision precision);  // "fp32 matmul"
Precision product_precision(const Context& ctx);    // what its matrices are multiplied in

// Seconds of one call: ranks start it together, the slowest counts.
double seconds_of(const Grid& grid, Stream& stream, const std::function<void()>& body);

// Median seconds of `repeats` calls after one that is not counted.
double median_seconds(const Grid& grid, Stream& stream, std::int64_t repeats,
                      const std::function<void()>& body);

// Every rank's value, in rank order. Collective.
std::vector<double> of_every_rank(const Grid& grid, Stream& stream, double mine);
double mean_over_ranks(const Grid& grid, Stream& stream, double mine);

// Bytes of this rank, by what they are for; the result is the fullest rank's, with their "total".
// The same names everywhere. Collective.
struct NamedBytes {
  const char* name;
  std::size_t bytes;
};
OrderedJson fullest_rank(const Grid& grid, Stream& stream, const std::vector<NamedBytes>& mine);

}  // namespace weft
