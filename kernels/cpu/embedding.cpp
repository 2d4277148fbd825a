#include <algorithm>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"
#include "kernels/panels.h"

namespace weft::cpu {

namespace {

// Where a row of a table lies: its elements `step` apart.
struct TableRow {
  std::int64_t first, step;
};
TableRow table_row(ConstView table, std::int64_t row) {
  const auto [V, C] = matrix_dims(table);
  if (!is_in_panels(table)) return {row * C, 1};
  const std::int64_t begin = row / kPanel * kPanel;
  return {begin * C + (row - begin), panel_width(V, begin)};
}

}  // namespace

void embedding(View y, ConstView ids, ConstView table, std::int64_t first_row, bool accumulate,
               Stream& stream) {
  const auto [N, C] = y.dims<2>();
  const std::int64_t rows = matrix_dims(table).O;
  const auto* id = ids.as<std::int32_t>();
  auto* out = y.as<float>();
  const auto run = [&, N = N, C = C](const auto* weights, const auto& widen) {
    parallel_for(stream, N, row_grain(C), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) {
        float* to = out + n * C;
        const std::int64_t row = id[n] - first_row;
        if (row < 0 || row >= rows) {
          if (!accumulate) std::fill(to, to + C, 0.0f);
          continue;
        }
        const auto [first, step] = table_row(table, row);
        const auto* from = weights + first;
        if (accumulate)
          for (std::int64_t c = 0; c < C; ++c) to[c] += widen(from[c * step]);
        else
          for (std::int64_t c = 0; c < C; ++c) to[c] = widen(from[c * step]);
      }
    });
  };
  if (table.dtype() == DType::f32)
    run(table.as<float>(), [](float x) { return x; });
  else if (table.dtype() == DType::bf16)
    run(table.as<BFloat16>(), [](BFloat16 x) { return to_float(x); });
  else
    run(table.as<Float16>(), [](Float16 x) { return to_float(x); });
}

// Threads share the columns, so that each sum runs in the order of n.
void embedding_backward(View dtable, ConstView dy, ConstView ids, std::int64_t first_row,
                        Stream& stream) {
  const auto [N, C] = dy.dims<2>();
  const std::int64_t rows = dtable.dim(0);
  const auto* id = ids.as<std::int32_t>();
  parallel_for(stream, C, 128, [&, N = N, C = C](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = 0; n < N; ++n) {
      const std::int64_t row = id[n] - first_row;
      if (row < 0 || row >= rows) continue;
      float* to = dtable.as<float>() + row * C;
      const float* from = dy.as<float>() + n * C;
      for (std::int64_t c = begin; c < end; ++c) to[c] += from[c];
    }
  });
}

}  // namespace weft::cpu
