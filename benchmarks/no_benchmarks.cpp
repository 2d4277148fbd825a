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
void bench_machine(const BenchRun&) { not_built(); }
void bench_kernels(const BenchRun&) { not_built(); }
void bench_comm(const BenchRun&) { not_built(); }
void bench_step(const BenchRun&) { not_built(); }
void bench_generate(const BenchRun&) { not_built(); }
void bench_score(const BenchRun&) { not_built(); }

}  // namespace weft
