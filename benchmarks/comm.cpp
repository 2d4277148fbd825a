// Collectives over all ranks, by size, beside every rank copying as many bytes in its own memory at
// the same time: what is sent is copied once at least. Bytes a rank must send for an all-reduce of
// n bytes: 2 n (R - 1) / R.
#include <cstring>
#include <vector>

#include "benchmarks/bench.h"

namespace weft {

void bench_comm(const BenchRun& run) {
  Communicator& world = run.grid.world();
  const double ranks = world.size();
  for (std::int64_t elems : {std::int64_t{1} << 8, std::int64_t{1} << 14, std::int64_t{1} << 18,
                             std::int64_t{1} << 22}) {
    std::vector<float> x(static_cast<std::size_t>(elems * world.size()), 1.0f),
        y(static_cast<std::size_t>(elems));
    const double bytes = 4.0 * static_cast<double>(elems);
    const auto time = [&](const std::function<void()>& body) {
      constexpr int kInner = 8;
      return median_seconds(run.grid, run.stream, run.options.repeats,
                            [&] {
                              for (int i = 0; i < kInner; ++i) body();
                            }) /
             kInner;
    };
    BestRate copies;  // bytes/s of a rank
    const auto report = [&](const char* name, double moved, double seconds) {
      copies.sample(bytes /
                    time([&] { std::memcpy(x.data(), y.data(), y.size() * sizeof(float)); }));
      const double share = copies.share(moved / seconds);
      run.report({.name = fmt::format("{} {} KiB", name, elems / 256),
                  .value = moved / seconds / 1e9,
                  .unit = "GB/s",
                  .share = share,
                  .peak = "copying as much",
                  .peak_rate = copies.rate(),
                  .more = {{"seconds", seconds}, {"bytes", bytes}, {"ranks", world.size()}}});
    };
    report("all_reduce", 2 * bytes * (ranks - 1) / ranks,
           time([&] { world.all_reduce(View(y.data(), Dims{elems}), ReduceOp::max, run.stream); }));
    report("start_all_reduce and wait", 2 * bytes * (ranks - 1) / ranks, time([&] {
             world.start_all_reduce(View(y.data(), Dims{elems}), ReduceOp::max, run.stream)->wait();
           }));
    report("all_gather", bytes * (ranks - 1), time([&] {
             world.all_gather(View(x.data(), Dims{elems * world.size()}),
                              ConstView(y.data(), Dims{elems}), run.stream);
           }));
    report("broadcast", bytes,
           time([&] { world.broadcast(View(y.data(), Dims{elems}), 0, run.stream); }));
  }
}

}  // namespace weft
