// Stands for the benchmarks where they are not built (WEFT_BENCHMARKS=OFF).
#include "benchmarks/bench.h"
#include "core/check.h"

namespace weft {
namespace {
[[noreturn]] void not_built() {
  user_error("this weft was built without its benchmarks (WEFT_BENCHMARKS=OFF)");
}
}  // namespace

void BenchOptions::visit(FieldVisitor&) {}
Peaks::Peaks(const Grid&, Stream& stream)
    : grid_([]() -> const Grid& { not_built(); }()),
      stream_(stream),
      probe_fp32_(Precision::fp32, stream),
      probe_bf16_(Precision::bf16, stream),
      probe_reads_(stream) {}
void Peaks::sample_matmul(Precision) { not_built(); }
void Peaks::sample_reads() { not_built(); }
const char* matmul_peak_name(Precision) { not_built(); }
void bench_machine(const BenchRun&) { not_built(); }
void bench_kernels(const BenchRun&) { not_built(); }
void bench_comm(const BenchRun&) { not_built(); }
void bench_step(const BenchRun&) { not_built(); }
void bench_generate(const BenchRun&) { not_built(); }
double median(std::vector<double>) { not_built(); }
double seconds_of(const Grid&, Stream&, const std::function<void()>&) { not_built(); }
double median_seconds(const Grid&, Stream&, std::int64_t, const std::function<void()>&) {
  not_built();
}

}  // namespace weft
