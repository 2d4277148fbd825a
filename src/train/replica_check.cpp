#include "train/replica_check.h"

#include "comm/agreement.h"
#include "core/check.h"
#include "core/checksum.h"
#include "core/host_copy.h"
#include "core/system/hardware.h"
#include "formats/tensor_checksum.h"

namespace weft {
std::uint64_t local_checksum(const Context& ctx, const Parameters& parameters,
                             std::initializer_list<View LocalParameter::*> of) {
  std::uint64_t sum = 0, place = 0;
  for (const LocalParameter& p : parameters.list())
    for (const auto tensor : of)
      if (const View& x = p.*tensor; !x.empty()) {
        std::uint64_t values = 0;
        read_pieces(x, ctx.stream, [&](std::int64_t begin, ConstView piece) {
          values += elements_checksum(piece.as<float>(), {{begin, 0, piece.elems()}},
                                      ctx.stream.n_threads());
        });
        sum += element_checksum(place++, values);
      }
  return sum;
}

void check_replicas(const Context& ctx, const Parameters& parameters) {
  const Grid& grid = ctx.grid;
  if (grid.shape().dp == 1) return;
  const auto sum = static_cast<std::int64_t>(local_checksum(
      ctx, parameters, {&LocalParameter::weight, &LocalParameter::m, &LocalParameter::v}));
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
