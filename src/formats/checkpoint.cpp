#include "formats/checkpoint.h"

#include <algorithm>
#include <optional>

#include "comm/agreement.h"
#include "comm/compare.h"
#include "core/check.h"
#include "core/damaged.h"
#include "core/host_copy.h"
#include "formats/families/families.h"
#include "formats/narrow.h"
#include "formats/tensor_checksum.h"
#include "io/files.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

// What this rank answers for of a parameter, in its own memory.
std::vector<Run> owned_runs(const LocalParameter& p, const ModelConfig& config,
                            const GridShape& shape, int tp_rank) {
  const Slice part = {p.info.shape, p.slice.whole() ? 0 : p.slice.dim,
                      owned_ranges(p.info, config, shape.tp, tp_rank)};
  return runs_within(part, p.slice);
}

// This rank's part of every tensor's checksum, [parameter][kind] flattened; summed over a replica
// it is the file's.
std::vector<std::int64_t> checksums(const Context& ctx, const Parameters& parameters,
                                    const ModelConfig& config) {
  std::vector<std::int64_t> sums;
  for (const Parameter& p : stored_parameters(config))
    for (const CheckpointTensor& kind : kCheckpointTensors) {
      const LocalParameter* local = parameters.find(p.name);
      std::uint64_t sum = 0;
      if (local) {
        const std::vector<Run> owned =
            owned_runs(*local, config, ctx.grid.shape(), ctx.grid.tp().rank());
        read_pieces(local->*kind.tensor, ctx.stream, [&](std::int64_t begin, ConstView piece) {
          sum += elements_checksum(piece.as<float>(), clip(owned, begin, piece.elems()),
                                   ctx.stream.n_threads());
        });
      }
      sums.push_back(static_cast<std::int64_t>(sum));
    }
  ctx.grid.replica().all_reduce(View(sums.data(), Dims{static_cast<std::int64_t>(sums.size())}),
                                ReduceOp::sum, ctx.stream);
  return sums;
}

// What this rank writes into a checkpoint's datasets.
struct DatasetSlice {
  std::string dataset;
  ConstView values;
  std::vector<Run> runs;
};
std::vector<DatasetSlice> own_slices(const Context& ctx, const Parameters& parameters,
                                     const ModelConfig& config) {
  std::vector<DatasetSlice> slices;
  for (const Parameter& p : stored_parameters(config))
    if (const LocalParameter* local = parameters.find(p.name))
      for (const CheckpointTensor& kind : kCheckpointTensors)
        slices.push_back({kind.group + p.name, local->*kind.tensor,
                          owned_runs(*local, config, ctx.grid.shape(), ctx.grid.tp().rank())});
  return slices;
}

// A file whose datasets wait to be filled.
void create_checkpoint(const fs::path& file, const ModelConfig& config, const std::string& header,
                       const RunState& state) {
  Hdf5File out = Hdf5File::create(file);
  write_texts(out, header, state);
  for (const Parameter& p : stored_parameters(config))
    for (const CheckpointTensor& kind : kCheckpointTensors)
      out.create_dataset(kind.group + p.name, DType::f32, p.shape);
  out.close();
}

// Collective over the replica, whose rank 0 names the file.
void fill_checkpoint(const Context& ctx, const fs::path& file, const Parameters& parameters,
                     const ModelConfig& config) {
  Hdf5File::fill_together(file, ctx.grid.replica(), ctx.stream, [&](Hdf5File& out) {
    for (const DatasetSlice& slice : own_slices(ctx, parameters, config))
      read_pieces(slice.values, ctx.stream, [&](std::int64_t begin, ConstView piece) {
        const std::vector<Run> here = clip(slice.runs, begin, piece.elems());
        if (!here.empty()) out.write(slice.dataset, piece, file_runs(here));
      });
  });
}

}  // namespace

std::int64_t checkpoint_bytes(const ModelConfig& config, const RunState& state) {
  return count_parameters(config) * 12 +
         static_cast<std::int64_t>(state.tokenizer.size() + state.generation.size()) + (1 << 20);
}

void save_checkpoint(const Context& ctx, const fs::path& file, const Parameters& parameters,
                     const ModelConfig& config, const RunState& state) {
  Communicator& world = ctx.grid.world();
  const bool writes = ctx.grid.dp().rank() == 0;
  std::optional<FileBeside> beside;  // rank 0's
  // Asked for first: HDF5 and MPI-IO fail loudly when a write does.
  on_first_rank(world, ctx.stream,
                [&] { beside.emplace(file).reserve(checkpoint_bytes(config, state)); });
  auto failure = failure_of([&] {
    std::vector<std::int64_t> sums;
    if (writes) sums = checksums(ctx, parameters, config);
    on_first_rank(world, ctx.stream, [&] {
      create_checkpoint(beside->path(), config, checkpoint_header(config, state, sums), state);
    });
    throw_together(world, failure_of([&] {
                     if (writes)
                       fill_checkpoint(ctx, beside ? beside->path() : "", parameters, config);
                   }),
                   ctx.stream);
  });
  if (failure) {
    failure->text =
        fmt::format("{}: the checkpoint could not be written ({})", file.string(), failure->text);
    rethrow(*failure);
  }
  on_first_rank(world, ctx.stream, [&] { beside->put_in_place(); });
}

void load_checkpoint(const Context& ctx, const fs::path& file, Parameters& parameters,
                     const ModelConfig& config) {
  const std::vector<Parameter> stored = stored_parameters(config);
  std::vector<std::int64_t> sums(stored.size() * 3), is_read(stored.size());
  const bool training = !parameters.list().empty() && !parameters.list()[0].m.empty();
  const std::size_t kinds = training ? 3 : 1;
  Json header;
  std::vector<float> wide;
  read_together(ctx.grid.world(), ctx.stream, [&] {
    const Hdf5File in = Hdf5File::open(file);
    header = read_header(in);
    const std::string difference = first_difference(
        config_from_json(header.value("config", Json::object()), file.string()), config);
    CHECK_USER(difference.empty(), "{}: is a checkpoint of another model: {}", file.string(),
               difference);
    for (LocalParameter& p : parameters.list()) {
      const std::string& name = p.info.tied_to.empty() ? p.info.name : p.info.tied_to;
      const auto place = static_cast<std::size_t>(
          std::find_if(stored.begin(), stored.end(),
                       [&](const Parameter& q) { return q.name == name; }) -
          stored.begin());
      CHECK_USER(place < stored.size(), "{}: is a checkpoint of a {}, which has no {}",
                 file.string(), head_name(config.head), name);
      is_read[place] = 1;
      const std::vector<Run> all = runs(p.slice),
                             owned = owned_runs(p, config, ctx.grid.shape(), ctx.grid.tp().rank());
      for (std::size_t k = 0; k < kinds; ++k) {
        const std::string dataset = kCheckpointTensors[k].group + name;
        CHECK_WHOLE(in.shape(dataset) == p.info.shape, "{}: dataset {} is {}, expected {}",
                    file.string(), dataset, in.shape(dataset).str(), p.info.shape.str());
        std::uint64_t sum = 0;
        const auto read = [&](std::int64_t begin, View piece) {
          in.read(dataset, piece, file_runs(clip(all, begin, piece.elems())));
          sum += elements_checksum(piece.as<float>(), clip(owned, begin, piece.elems()),
                                   ctx.stream.n_threads());
        };
        const View to = p.*kCheckpointTensors[k].tensor;
        if (to.dtype() == DType::f32) {
          write_pieces(to, ctx.stream, read);
        } else {
          WideWrite write(to, wide);
          read(0, write.wide().reshape({to.elems()}));
          write.finish(fmt::format("{} of {}", dataset, file.string()), ctx.stream);
        }
        if (p.info.tied_to.empty()) sums[place * 3 + k] = static_cast<std::int64_t>(sum);
      }
    }
  });
  ctx.grid.replica().all_reduce(View(sums.data(), Dims{static_cast<std::int64_t>(sums.size())}),
                                ReduceOp::sum, ctx.stream);
  ctx.grid.replica().all_reduce(
      View(is_read.data(), Dims{static_cast<std::int64_t>(is_read.size())}), ReduceOp::max,
      ctx.stream);
  read_together(ctx.grid.world(), ctx.stream, [&] {
    for (std::size_t i = 0; i < stored.size(); ++i)
      for (std::size_t k = 0; k < kinds && is_read[i] != 0; ++k)
        CHECK_WHOLE(checksum_of(header, stored[i].name, k, file) == sums[i * 3 + k],
                    "{}: dataset {}{} is damaged (its checksum differs)", file.string(),
                    kCheckpointTensors[k].group, stored[i].name);
  });
  parameters.refresh_bf16(ctx.stream);
}

}  // namespace weft
