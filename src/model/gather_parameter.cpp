#include "model/gather_parameter.h"

#include <algorithm>

#include "core/host_copy.h"

namespace weft {

namespace {

// Of a rank's own memory.
void read_runs(ConstView x, const std::vector<Run>& runs, Stream& stream, const TakeRun& take) {
  read_pieces(x, stream, [&](std::int64_t begin, ConstView values) {
    for (const Run& run : clip(runs, begin, values.elems()))
      take(run.global_begin, values.as<float>() + run.local_begin, run.size);
  });
}

}  // namespace

void gather_runs(const Parameter& parameter, const Parameters& parameters,
                 const ModelConfig& config, const Grid& grid, View LocalParameter::*of,
                 Stream& stream, const TakeRun& piece) {
  if (grid.dp().rank() != 0) return;
  constexpr int kTag = 7;
  const GridShape shape = grid.shape();
  Communicator& replica = grid.replica();
  const bool root = replica.rank() == 0;
  std::vector<float> packed;
  for (int pp = 0; pp < shape.pp; ++pp) {
    if (!on_stage(parameter, config, shape.pp, pp, parameters.chunks())) continue;
    for (int tp = 0; tp < shape.tp; ++tp) {
      const Slice owned = {parameter.shape, 0, owned_ranges(parameter, config, shape.tp, tp)};
      const Slice held = slice_of(parameter, config, shape.tp, tp);
      // Columns are cut along dim 1, and what one rank holds whole is rows.
      const Slice part = {parameter.shape, held.whole() ? 0 : held.dim, owned.ranges};
      const std::int64_t elems = part.local().elems();
      const int owner = tp + shape.tp * pp;
      if (elems == 0 || (replica.rank() != owner && !root)) continue;
      if (root &&
          owner == 0) {  // straight from its place: a copy would be felt in the rank's peak memory
        read_runs(parameters.at(parameter.name).*of, runs_within(part, held), stream, piece);
        continue;
      }
      packed.resize(static_cast<std::size_t>(elems));
      const View view(packed.data(), Dims{elems});
      if (root) {
        replica.recv(view, owner, kTag, stream);
        for (const Run& run : runs(part))
          piece(run.global_begin, packed.data() + run.local_begin, run.size);
        continue;
      }
      std::int64_t at = 0;  // runs lie in their order
      read_runs(parameters.at(parameter.name).*of, runs_within(part, held), stream,
                [&](std::int64_t, const float* values, std::int64_t n) {
                  std::copy_n(values, n, packed.data() + at);
                  at += n;
                });
      replica.send(view, 0, kTag, stream);
    }
  }
}

std::vector<float> gather_parameter(const Parameter& parameter, const Parameters& parameters,
                                    const ModelConfig& config, const Grid& grid,
                                    View LocalParameter::*of, Stream& stream) {
  std::vector<float> whole(
      grid.world().rank() == 0 ? static_cast<std::size_t>(parameter.shape.elems()) : 0);
  gather_runs(parameter, parameters, config, grid, of, stream,
              [&](std::int64_t begin, const float* from, std::int64_t n) {
                std::copy_n(from, n, whole.data() + begin);
              });
  return whole;
}

std::size_t largest_tensor_bytes(const ModelConfig& config) {
  std::int64_t most = 0;
  for (const Parameter& p : parameters_of(config)) most = std::max(most, p.shape.elems());
  return static_cast<std::size_t>(most) * sizeof(float);
}

void copy_weights(Parameters& to, const Parameters& from, const Grid& grid, Stream& stream) {
  if (grid.dp().rank() != 0) return;
  std::vector<float> room(largest_tensor_bytes(from.config()) / sizeof(float));
  for (const Parameter& p : parameters_of(from.config())) {
    if (!p.tied_to.empty()) continue;  // filled with what it is tied to
    const View whole(room.data(), p.shape);
    gather_runs(p, from, from.config(), grid, &LocalParameter::weight, stream,
                [&](std::int64_t begin, const float* values, std::int64_t n) {
                  std::copy_n(values, n, room.data() + begin);
                });
    grid.replica().broadcast(whole, 0, stream);
    for (const LocalParameter& mine : to.list()) {
      if (mine.info.name != p.name && mine.info.tied_to != p.name) continue;
      HostWrite write(mine.weight);
      for (const Run& run : runs(mine.slice))
        std::copy_n(room.data() + run.global_begin, run.size,
                    write.host().as<float>() + run.local_begin);
      write.finish(stream);
    }
  }
}

}  // namespace weft
