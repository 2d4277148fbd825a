#include "model/tensor_parallel.h"

#include <vector>

#include "core/check.h"

namespace weft {

void all_reduce_tp(const Context& ctx, View x) {
  if (ctx.grid.shape().tp == 1) return;
  const auto timed = time_as(ctx, TimeShare::comm);
  ctx.grid.tp().all_reduce(x, ReduceOp::sum, ctx.stream);
}

void gather_columns_tp(const Context& ctx, View whole, View packed, ConstView part,
                       std::span<const std::int64_t> widths) {
  const auto timed = time_as(ctx, TimeShare::comm);
  const auto [N, W] = whole.dims<2>();
  std::vector<std::int64_t> counts;
  for (std::int64_t w : widths) counts.push_back(N * w);
  if (N == 1)
    return ctx.grid.tp().all_gather(whole, part, counts,
                                    ctx.stream);  // the ranks' order is the columns' order
  const View all = packed.rows(0, N * W);
  ctx.grid.tp().all_gather(all, part, counts, ctx.stream);
  join_columns(whole, all, widths, ctx.stream);
}

}  // namespace weft
