#include "model/tensor_parallel.h"

#include <algorithm>
#include <vector>

#include "core/check.h"

namespace weft {

void all_reduce_tp(const Context& ctx, View x) {
  if (ctx.grid.shape().tp == 1) return;
  const auto timed = time_as(ctx, TimeShare::comm);
  ctx.grid.tp().all_reduce(x, ReduceOp::sum, ctx.stream);
}

void gather_columns_tp(const Context& ctx, View whole, View packed, ConstView part,
                       std::span<const std::int64_t> widths, std::span<const std::int64_t> held) {
  const auto timed = time_as(ctx, TimeShare::comm);
  const std::int64_t N = whole.dim(0);
  const bool pads = !held.empty() && !std::ranges::equal(held, widths);
  if (!pads) held = widths;
  std::vector<std::int64_t> counts;
  std::int64_t all_elems = 0;
  for (std::int64_t w : held) all_elems += counts.emplace_back(N * w);
  if (N == 1 && !pads)
    return ctx.grid.tp().all_gather(whole, part, counts,
                                    ctx.stream);  // the ranks' order is the columns' order
  const View all = packed.rows(0, all_elems);
  ctx.grid.tp().all_gather(all, part, counts, ctx.stream);
  join_columns(whole, all, widths, held, ctx.stream);
}

}  // namespace weft
