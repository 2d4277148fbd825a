#include "train/replica_check.h"

#include "comm/agreement.h"
#include "core/check.h"
#include "core/checksum.h"
#include "core/hardware.h"
#include "formats/tensor_checksum.h"

namespace weft {
namespace {

// This rank's own weights and moments, all of them.
std::int64_t local_checksum(const Context& ctx, const Parameters& parameters) {
  std::uint64_t sum = 0, place = 0;
  for (const LocalParameter& p : parameters.list())
    for (const View& x : {p.weight, p.m, p.v})
      if (!x.empty())
        sum += element_checksum(
            place++, elements_checksum(x.as<float>(), {{0, 0, x.elems()}}, ctx.stream.n_threads()));
  return static_cast<std::int64_t>(sum);
}

}  // namespace

void check_replicas(const Context& ctx, const Parameters& parameters) {
  const Grid& grid = ctx.grid;
  if (grid.shape().dp == 1) return;
  const std::int64_t sum = local_checksum(ctx, parameters);
  std::int64_t first = sum;
  grid.dp().broadcast(View(&first, Dims{1}), 0, ctx.stream);
  throw_together(grid.world(), failure_of([&] {
                   CHECK_MACHINE(
                       sum == first,
                       "rank {} on host {} has other weights than replica 0; its memory, its "
                       "processor or the network is at fault; nothing was saved of this step",
                       grid.world().rank(), host_name());
                 }),
                 ctx.stream);
}

}  // namespace weft
