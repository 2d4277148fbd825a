#include "model/hf_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "io/safetensors.h"
#include "kernels/ops.h"
#include "model/families.h"

namespace weft {
namespace {

std::vector<Range> ranges_along(const Slice& slice, int dim) {
  return slice.dim == dim ? slice.ranges : std::vector<Range>{{0, slice.global[dim]}};
}

// A float is finite iff x - x is 0; the loop vectorises.
bool all_finite(const float* x, std::int64_t n) {
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) finite &= x[i] - x[i] == 0.0f;
  return finite;
}

// Rows of ours at a time, and columns at a time: a block that the first cache holds while it is turned.
constexpr std::int64_t kBlock = 32;

// out (local) = the slice of a tensor stored as we hold it.
bool read_straight(const StoredTensor& stored, const Slice& slice, float* out, Stream& stream) {
  bool finite = true;
  const std::vector<Run> list = runs(slice);
  constexpr std::int64_t kPiece = 1 << 16;
  std::vector<Run> pieces;
  for (const Run& run : list)
    for (std::int64_t i = 0; i < run.size; i += kPiece) pieces.push_back({run.global_begin + i, run.local_begin + i, std::min(kPiece, run.size - i)});
  const auto n = static_cast<std::int64_t>(pieces.size());
#pragma omp parallel for num_threads(stream.n_threads()) schedule(static) reduction(&& : finite)
  for (std::int64_t p = 0; p < n; ++p) {
    const Run& run = pieces[static_cast<std::size_t>(p)];
    read_elements(stored, run.global_begin, run.size, out + run.local_begin);
    finite = finite && all_finite(out + run.local_begin, run.size);
  }
  return finite;
}

// out (local rows, local columns) = the slice of our (O, I) tensor, stored as (I, O).
bool read_transposed(const StoredTensor& stored, const Slice& slice, float* out, Stream& stream) {
  const std::int64_t O = slice.global[0], width = slice.local()[1];
  bool finite = true;
  std::int64_t first_column = 0;
  for (const Range& columns : ranges_along(slice, 1)) {
    const std::int64_t blocks = (columns.size() + kBlock - 1) / kBlock;
#pragma omp parallel for num_threads(stream.n_threads()) schedule(static) reduction(&& : finite)
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t begin = columns.begin + block * kBlock, end = std::min(columns.end, begin + kBlock);
      std::vector<float> piece(static_cast<std::size_t>(kBlock * kBlock));
      std::int64_t first_row = 0;
      for (const Range& rows : ranges_along(slice, 0)) {
        for (std::int64_t r = rows.begin; r < rows.end; r += kBlock) {
          const std::int64_t n = std::min(kBlock, rows.end - r);
          for (std::int64_t c = begin; c < end; ++c) read_elements(stored, c * O + r, n, piece.data() + (c - begin) * kBlock);
          for (std::int64_t k = 0; k < n; ++k) {
            float* to = out + (first_row + r - rows.begin + k) * width + first_column + begin - columns.begin;
            for (std::int64_t c = 0; c < end - begin; ++c) to[c] = piece[static_cast<std::size_t>(c * kBlock + k)];
            finite = finite && all_finite(to, end - begin);
          }
        }
        first_row += rows.size();
      }
    }
    first_column += columns.size();
  }
  return finite;
}

Dims stored_shape(const Dims& shape, bool transposed) { return transposed ? Dims{shape[1], shape[0]} : shape; }

}  // namespace

void load_hf_weights(Parameters& parameters, const ModelConfig& config, const std::filesystem::path& dir, Stream& stream) {
  const SafetensorsReader reader(dir);
  const Family& row = family(config.family);
  const std::vector<Parameter> all = parameters_of(config);
  std::vector<float> wide;
  for (LocalParameter& p : parameters.list()) {
    const Parameter* source = &p.info;
    if (!source->tied_to.empty())
      source = &*std::find_if(all.begin(), all.end(), [&](const Parameter& q) { return q.name == p.info.tied_to; });
    const StoredName stored = stored_name(row, *source);
    const bool bare = source->name == "head.weight";  // stands outside the base model
    const StoredTensor* tensor = reader.find(bare ? stored.name : row.prefix + stored.name);
    if (!tensor) tensor = reader.find(stored.name);
    CHECK_USER(tensor, "{}: tensor {} is missing ({} tensors are there)", dir.string(), row.prefix + stored.name, reader.tensors().size());
    const Dims expected = stored_shape(source->shape, stored.transposed);
    CHECK_USER(tensor->shape == expected, "{}: tensor {} is {}, but config.json makes it {}", tensor->file, tensor->name, tensor->shape.str(),
               expected.str());
    float* out = nullptr;
    if (p.weight.dtype() == DType::f32) {
      out = p.weight.as<float>();
    } else {
      wide.resize(static_cast<std::size_t>(p.weight.elems()));
      out = wide.data();
    }
    if (p.weight.elems() == 0) continue;
    read_elements(*tensor, 0, 0, out);  // names an unreadable dtype before the threads start
    const bool finite = stored.transposed ? read_transposed(*tensor, p.slice, out, stream) : read_straight(*tensor, p.slice, out, stream);
    CHECK_USER(finite, "{}: tensor {} holds a number that is not finite (NaN or infinity)", tensor->file, tensor->name);
    if (p.weight.dtype() != DType::f32) convert(p.weight, ConstView(out, p.weight.shape()), stream);
  }
  parameters.refresh_bf16(stream);
}

namespace {

// Every run of a parameter, on world rank 0: piece(first global element, values, count), from the ranks that own them.
template <class Piece>
void gather_runs(const Parameter& parameter, const Parameters& parameters, const ModelConfig& config, const Grid& grid, View LocalParameter::*of,
                 Stream& stream, const Piece& piece) {
  if (grid.dp().rank() != 0) return;
  constexpr int kTag = 7;
  const GridShape shape = grid.shape();
  Communicator& replica = grid.replica();
  const bool root = replica.rank() == 0;
  std::vector<float> packed;
  for (int pp = 0; pp < shape.pp; ++pp) {
    if (!on_stage(parameter, config, shape.pp, pp)) continue;
    for (int tp = 0; tp < shape.tp; ++tp) {
      const Slice owned = {parameter.shape, 0, owned_ranges(parameter, config, shape.tp, tp)};
      const Slice held = slice_of(parameter, config, shape.tp, tp);
      // Columns are cut along dim 1, and what one rank holds whole is rows.
      const Slice part = {parameter.shape, held.whole() ? 0 : held.dim, owned.ranges};
      const std::int64_t elems = part.local().elems();
      const int owner = tp + shape.tp * pp;
      if (elems == 0 || (replica.rank() != owner && !root)) continue;
      if (root && owner == 0) {  // straight from its place: a copy would be felt in the rank's peak memory
        const float* from = (parameters.at(parameter.name).*of).template as<float>();
        for (const Run& run : runs_within(part, held)) piece(run.global_begin, from + run.local_begin, run.size);
        continue;
      }
      packed.resize(static_cast<std::size_t>(elems));
      const View view(packed.data(), Dims{elems});
      if (root) {
        replica.recv(view, owner, kTag, stream);
        for (const Run& run : runs(part)) piece(run.global_begin, packed.data() + run.local_begin, run.size);
        continue;
      }
      const float* from = (parameters.at(parameter.name).*of).template as<float>();
      std::int64_t at = 0;
      for (const Run& run : runs_within(part, held)) {
        std::memcpy(packed.data() + at, from + run.local_begin, static_cast<std::size_t>(run.size) * sizeof(float));
        at += run.size;
      }
      replica.send(view, 0, kTag, stream);
    }
  }
}

// to[…] = the run, in the stored layout: as it is, or of the (O, I) tensor's transpose.
void place_run(float* to, const Dims& shape, bool transposed, std::int64_t begin, const float* from, std::int64_t n) {
  if (!transposed) {
    std::memcpy(to + begin, from, static_cast<std::size_t>(n) * sizeof(float));
    return;
  }
  const std::int64_t O = shape[0], I = shape[1];
  for (std::int64_t k = 0; k < n; ++k) to[(begin + k) % I * O + (begin + k) / I] = from[k];
}

}  // namespace

std::vector<float> gather_parameter(const Parameter& parameter, const Parameters& parameters, const ModelConfig& config, const Grid& grid,
                                    View LocalParameter::*of, Stream& stream) {
  std::vector<float> whole(grid.world().rank() == 0 ? static_cast<std::size_t>(parameter.shape.elems()) : 0);
  gather_runs(parameter, parameters, config, grid, of, stream,
              [&](std::int64_t begin, const float* from, std::int64_t n) { place_run(whole.data(), parameter.shape, false, begin, from, n); });
  return whole;
}

void save_hf_weights(const Parameters& parameters, const ModelConfig& config, const Grid& grid, const std::filesystem::path& dir, DType dtype,
                     std::int64_t max_shard_bytes, Stream& stream) {
  const bool writes = grid.world().rank() == 0;
  const Family& row = family(config.family);
  const std::vector<Parameter> all = parameters_of(config);
  std::vector<TensorToWrite> tensors;
  for (const Parameter& p : all) {
    if (!p.tied_to.empty()) continue;
    const StoredName stored = stored_name(row, p);
    const auto fill = [&, stored, writes](std::span<std::byte> out) {
      std::vector<float> wide(writes && dtype != DType::f32 ? static_cast<std::size_t>(p.shape.elems()) : 0);
      float* to = dtype == DType::f32 ? reinterpret_cast<float*>(out.data()) : wide.data();
      gather_runs(p, parameters, config, grid, &LocalParameter::weight, stream,
                  [&](std::int64_t begin, const float* from, std::int64_t n) { place_run(to, p.shape, stored.transposed, begin, from, n); });
      if (!writes || dtype == DType::f32) return;
      const Dims flat = {p.shape.elems()};
      convert(View(out.data(), dtype, flat), ConstView(wide.data(), flat), stream);
    };
    const std::string name = p.name == "head.weight" ? stored.name : row.prefix + stored.name;
    tensors.push_back({name, dtype, stored_shape(p.shape, stored.transposed), fill});
  }
  if (writes) {
    make_folder(dir);
    OrderedJson json = write_hf_config(config);
    json["dtype"] = dtype == DType::f32 ? "float32" : dtype == DType::bf16 ? "bfloat16" : "float16";
    json.erase("torch_dtype");
    write_file_atomically(dir / "config.json", json.dump(2) + "\n");
    OrderedJson generation = {{"_from_model_config", true}};
    if (config.bos_id >= 0) generation["bos_token_id"] = config.bos_id;
    if (config.eos_id >= 0) generation["eos_token_id"] = config.eos_id;
    write_file_atomically(dir / "generation_config.json", generation.dump(2) + "\n");
  }
  write_safetensors(dir, tensors, max_shard_bytes, writes);
}

}  // namespace weft
