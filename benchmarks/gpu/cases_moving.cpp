// Ops that fill, move and sum, and the label heads' losses.
#include <fmt/format.h>

#include "cases.h"
#include "kernels/ops.h"

namespace weft::gpu_bench {
namespace {

constexpr std::int64_t N = 8192, C = 4096;

}  // namespace

std::vector<Case> moving_cases() {
  std::vector<Case> cases;
  const auto add = [&](std::string name, std::function<Body(Memory&, Stream&)> make) {
    cases.push_back({std::move(name), Rate::fp32, {}, std::move(make)});
  };
  for (const DType act : {DType::bf16, DType::f32}) {
    const auto dtype = dtype_name(act);
    add(fmt::format("fill {} {}x{}", dtype, N, C), [=](Memory& memory, Stream&) -> Body {
      return [x = memory.normal(act, {N, C})](Stream& s) { fill(x, 0, s); };
    });
    add(fmt::format("gather_rows {} {}x{} of {}", dtype, N / 4, C, N),
        [=](Memory& memory, Stream&) -> Body {
          return [y = memory.normal(act, {N / 4, C}), x = memory.normal(act, {N, C}),
                  rows = memory.ids(N / 4, N)](Stream& s) { gather_rows(y, x, rows, s); };
        });
    add(fmt::format("scatter_rows {} {}x{} into {}", dtype, N / 4, C, N),
        [=](Memory& memory, Stream&) -> Body {
          return [y = memory.normal(act, {N, C}), x = memory.normal(act, {N / 4, C}),
                  rows = memory.counted(N / 4, N)](Stream& s) { scatter_rows(y, x, rows, s); };
        });
    add(fmt::format("join_columns {} {}x{} of 4", dtype, N, C),
        [=](Memory& memory, Stream&) -> Body {
          return [whole = memory.normal(act, {N, C}), parts = memory.normal(act, {N * C}),
                  widths = std::vector<std::int64_t>(4, C / 4)](Stream& s) {
            join_columns(whole, parts, widths, widths, s);
          };
        });
    add(fmt::format("element_loss {} {}x{}", dtype, N, 16), [=](Memory& memory, Stream&) -> Body {
      const View logits = memory.normal(act, {N, 16});
      return [logits, loss = memory.normal(DType::f32, {N}), labels = memory.ids(N, 1),
              targets = memory.normal(DType::f32, {N, 16})](Stream& s) {
        element_loss(loss, logits, logits, labels, targets, ElementLoss::binary_cross_entropy, 1.0f,
                     s);
      };
    });
  }
  add(fmt::format("add_sum {}", N), [=](Memory& memory, Stream&) -> Body {
    return [total = memory.normal(DType::f32, {2}), x = memory.normal(DType::f32, {N})](Stream& s) {
      add_sum(View(total.data(), DType::f64, {1}, total.device()), x, s);
    };
  });
  return cases;
}

}  // namespace weft::gpu_bench
