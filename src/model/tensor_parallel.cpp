#include "model/tensor_parallel.h"

#include <algorithm>

#include "core/check.h"

namespace weft {

void all_reduce_tp(const Context& ctx, View x) {
  if (ctx.grid.shape().tp == 1) return;
  const auto timed = time_as(ctx, TimeShare::comm);
  ctx.grid.tp().all_reduce(x, ReduceOp::sum, ctx.stream);
}

namespace {

// A CPU's sums would wait for somebody to poke them.
bool overlaps(const Context& ctx) {
  return ctx.grid.shape().tp > 1 && ctx.stream.device().type == DeviceType::cuda;
}

}  // namespace

std::vector<RowPiece> halves_of_rows(std::int64_t B, std::int64_t T, std::int64_t least) {
  const std::int64_t sequences = (B + 1) / 2, tokens = (T + 1) / 2;
  if (B > 1 && B / 2 * T >= least) return {{0, sequences, T}, {sequences * T, B - sequences, T}};
  if (B == 1 && T > 1 && T / 2 >= least) return {{0, 1, tokens}, {tokens, 1, T - tokens}};
  return {{0, B, T}};
}

std::vector<RowPiece> row_pieces(const Context& ctx, std::int64_t B, std::int64_t T, bool drops) {
  if (!overlaps(ctx) || (drops && B == 1)) return {{0, B, T}};
  return halves_of_rows(B, T, ctx.piece_rows);
}

void RowSums::start(const Context& ctx, View x, std::int64_t begin) {
  if (!overlaps(ctx)) return all_reduce_tp(ctx, x);
  const auto timed = time_as(ctx, TimeShare::comm);
  under_way_.push_back(
      {begin, begin + x.dim(0), ctx.grid.tp().start_all_reduce(x, ReduceOp::sum, ctx.stream)});
}

void RowSums::wait(const RowPiece& rows) {
  std::erase_if(under_way_, [&](Sum& sum) {
    if (sum.end <= rows.begin || rows.end() <= sum.begin) return false;
    sum.transfer->wait();
    return true;
  });
}

void RowSums::wait() {
  for (Sum& sum : under_way_) sum.transfer->wait();
  under_way_.clear();
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
