// The checks of the ops that move, fill and sum.
#include <algorithm>
#include <functional>
#include <numeric>

#include "core/check.h"
#include "kernels/op_checks.h"

namespace weft {

using op_checks::act_dtype;
using op_checks::backend;
using op_checks::expect;

void fill(View x, double value, Stream& stream) {
  switch (x.dtype()) {
    case DType::f32:
    case DType::bf16:
    case DType::f16:
    case DType::f64:
    case DType::i32:
      return backend(stream).fill(x, value, stream);
    default:
      throw Error(fmt::format("fill: {} {}; supported: fp32, bf16, fp16, fp64, i32",
                              dtype_name(x.dtype()), x.shape().str()));
  }
}

void gather_rows(View y, ConstView x, ConstView rows, Stream& stream) {
  const auto [N, C] = x.dims<2>();
  const std::int64_t M = y.dims<2>()[0];
  expect("gather_rows", "y", y, {M, C}, act_dtype("gather_rows", x, stream));
  expect("gather_rows", "rows", rows, {M}, DType::i32);
  backend(stream).gather_rows(y, x, rows, stream);
}

void scatter_rows(View y, ConstView x, ConstView rows, Stream& stream) {
  const auto [N, C] = y.dims<2>();
  const std::int64_t M = x.dims<2>()[0];
  expect("scatter_rows", "x", x, {M, C}, act_dtype("scatter_rows", y, stream));
  expect("scatter_rows", "rows", rows, {M}, DType::i32);
  backend(stream).scatter_rows(y, x, rows, stream);
}

void join_columns(View whole, ConstView parts, std::span<const std::int64_t> widths,
                  std::span<const std::int64_t> held, Stream& stream) {
  const auto [N, W] = whole.dims<2>();
  const auto sum = [](std::span<const std::int64_t> list) {
    return std::accumulate(list.begin(), list.end(), std::int64_t{0});
  };
  CHECK(sum(widths) == W, "join_columns: {} blocks of other widths than {} together", widths.size(),
        W);
  CHECK(std::ranges::equal(widths, held, std::ranges::less_equal()),
        "join_columns: {} blocks in memory for {}, each at least as wide", held.size(),
        widths.size());
  expect("join_columns", "parts", parts, {N * sum(held)}, act_dtype("join_columns", whole, stream));
  backend(stream).join_columns(whole, parts, widths, held, stream);
}

void add_sum(View total, ConstView x, Stream& stream) {
  expect("add_sum", "total", total, {1}, DType::f64);
  expect("add_sum", "x", x, x.shape());
  backend(stream).add_sum(total, x, stream);
}

void element_loss(View loss, View dlogits, ConstView logits, ConstView labels, ConstView targets,
                  ElementLoss kind, float scale, Stream& stream) {
  const auto [M, n] = logits.dims<2>();
  const DType act = act_dtype("element_loss", logits, stream);
  expect("element_loss", "loss", loss, {M});
  op_checks::expect_optional("element_loss", "dlogits", dlogits, {M, n}, act);
  expect("element_loss", "labels", labels, {M}, DType::i32);
  expect("element_loss", "targets", targets, {M, n});
  backend(stream).element_loss(loss, dlogits, logits, labels, targets, kind, scale, stream);
}

}  // namespace weft
