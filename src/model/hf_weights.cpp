#include "model/hf_weights.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "core/checksum.h"
#include "core/parallel.h"
#include "io/safetensors.h"
#include "kernels/ops.h"
#include "model/families.h"
#include "model/narrow.h"
#include "model/weight_source.h"
#include "model/weights_checksum.h"

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

// Rows of ours at a time, and columns at a time: a block that the first cache holds while it is
// turned.
constexpr std::int64_t kBlock = 32;

// Where a row of ours is stored, and how many rows from it on stand together there too.
struct RowPlace {
  std::size_t part = 0;
  std::int64_t row = 0, n_rows = 0;
};
RowPlace stored_row(const StoredParameter& stored, const ModelConfig& c, std::int64_t row) {
  if (stored.layout == Layout::by_head) {
    const std::int64_t D = c.head_dim, head = row / D % c.heads, kind = row / (D * c.heads);
    return {0, (head * 3 + kind) * D + row % D, D - row % D};
  }
  RowPlace place;
  for (place.row = row; place.row >= stored.parts[place.part].rows; ++place.part)
    place.row -= stored.parts[place.part].rows;
  place.n_rows = stored.parts[place.part].rows - place.row;
  return place;
}

// One stretch of a stored tensor, and where it goes in the local slice.
struct Stretch {
  std::size_t part;
  std::int64_t begin, size, to;  // elements
};

// out (local) = the slice, row by row as it is stored.
bool read_rows(const std::vector<StoredTensor>& tensors, const StoredParameter& stored,
               const ModelConfig& config, const Slice& slice, float* out, Stream& stream) {
  constexpr std::int64_t kPiece = 1 << 16;
  const bool matrix = slice.global.rank() == 2;
  const std::int64_t width = matrix ? slice.global[1] : 1,
                     local_width = matrix ? slice.local()[1] : 1;
  std::vector<Stretch> list;
  std::int64_t local_row = 0;
  for (const Range& rows : ranges_along(slice, 0))
    for (std::int64_t r = rows.begin; r < rows.end;) {
      const RowPlace place = stored_row(stored, config, r);
      std::int64_t n = std::min(place.n_rows, rows.end - r);
      if (local_width == width) {
        n = std::min(n, std::max<std::int64_t>(1, kPiece / width));
        list.push_back({place.part, place.row * width, n * width, local_row * width});
      } else {
        std::int64_t column = 0;
        for (const Range& columns : ranges_along(slice, 1)) {
          for (std::int64_t k = 0; k < n; ++k)
            list.push_back({place.part, (place.row + k) * width + columns.begin, columns.size(),
                            (local_row + k) * local_width + column});
          column += columns.size();
        }
      }
      r += n;
      local_row += n;
    }
  std::atomic<bool> finite = true;
  const auto n = static_cast<std::int64_t>(list.size());
  const std::int64_t grain = std::max<std::int64_t>(1, n / (16 * stream.n_threads()));
  parallel_blocks(n, grain, stream.n_threads(), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Stretch& s = list[static_cast<std::size_t>(i)];
      read_elements(tensors[s.part], s.begin, s.size, out + s.to);
      if (!all_finite(out + s.to, s.size)) finite = false;
    }
  });
  return finite;
}

// out (local rows, local columns) = the slice of our (O, I) tensor, stored as (I, O).
bool read_transposed(const StoredTensor& stored, const Slice& slice, float* out, Stream& stream) {
  const std::int64_t O = slice.global[0], width = slice.local()[1];
  std::atomic<bool> finite = true;
  std::int64_t first_column = 0;
  for (const Range& columns : ranges_along(slice, 1)) {
    const std::int64_t blocks = (columns.size() + kBlock - 1) / kBlock;
    parallel_for(blocks, stream.n_threads(), [&](std::int64_t block) {
      const std::int64_t begin = columns.begin + block * kBlock,
                         end = std::min(columns.end, begin + kBlock);
      std::vector<float> piece(static_cast<std::size_t>(kBlock * kBlock));
      std::int64_t first_row = 0;
      for (const Range& rows : ranges_along(slice, 0)) {
        for (std::int64_t r = rows.begin; r < rows.end; r += kBlock) {
          const std::int64_t n = std::min(kBlock, rows.end - r);
          for (std::int64_t c = begin; c < end; ++c)
            read_elements(stored, c * O + r, n, piece.data() + (c - begin) * kBlock);
          for (std::int64_t k = 0; k < n; ++k) {
            float* to = out + (first_row + r - rows.begin + k) * width + first_column + begin -
                        columns.begin;
            for (std::int64_t c = 0; c < end - begin; ++c)
              to[c] = piece[static_cast<std::size_t>(c * kBlock + k)];
            if (!all_finite(to, end - begin)) finite = false;
          }
        }
        first_row += rows.size();
      }
    });
    first_column += columns.size();
  }
  return finite;
}

Dims stored_shape(const Dims& shape, const StoredParameter& stored, std::size_t part) {
  if (stored.layout == Layout::transposed) return {shape[1], shape[0]};
  return shape.rank() == 2 ? Dims{stored.parts[part].rows, shape[1]}
                           : Dims{stored.parts[part].rows};
}

std::string with_end(const std::string& name, const std::string& from, const std::string& to) {
  const bool ends =
      name.size() >= from.size() && name.compare(name.size() - from.size(), from.size(), from) == 0;
  return ends ? name.substr(0, name.size() - from.size()) + to : "";
}

// Under its name, without the prefix (a base model's file), or as another writer calls it.
std::optional<StoredTensor> find_tensor(const WeightSource& source, const Family& row,
                                        const std::string& name) {
  std::vector<std::string> names = {name};
  if (name.starts_with(row.prefix)) names.push_back(name.substr(row.prefix.size()));
  std::vector<std::pair<std::string, std::string>> ends = row.aliases;
  for (const std::string norm : {"LayerNorm", "layer_norm"}) {  // as TensorFlow called them
    ends.emplace_back(norm + ".weight", norm + ".gamma");
    ends.emplace_back(norm + ".bias", norm + ".beta");
  }
  for (const std::string& n : std::vector<std::string>(names))
    for (const auto& [from, to] : ends)
      if (std::string other = with_end(n, from, to); !other.empty())
        names.push_back(std::move(other));
  for (const std::string& n : names)
    if (auto tensor = source.find(n)) return tensor;
  return std::nullopt;
}

bool belongs_to_head(const Parameter& p) {
  return p.layer == kHead && !p.name.starts_with("final_norm");
}
// The tensors whose shape the number of labels decides.
bool labels_something(const Parameter& p) {
  return p.name.starts_with("labels.") || p.name.starts_with("token_labels.");
}

}  // namespace

std::vector<StoredTensor> find_parameter(const WeightSource& source, const ModelConfig& config,
                                         const Parameter& parameter, const std::string& origin,
                                         MissingHead missing, std::string* kept) {
  const Family& row = family(config.family);
  const StoredParameter stored = stored_parameter(row, config, parameter);
  std::vector<StoredTensor> tensors;
  for (std::size_t i = 0; i < stored.parts.size(); ++i) {
    const auto tensor = find_tensor(source, row, stored.parts[i].name);
    if (!tensor && belongs_to_head(parameter) && missing == MissingHead::keep) {
      if (kept) *kept = stored.parts[i].name;
      return {};
    }
    CHECK_USER(tensor, "{}: tensor {} is missing ({} tensors are there){}", origin,
               stored.parts[i].name, source.n_tensors(),
               belongs_to_head(parameter)
                   ? fmt::format("; was it saved as a {}?", head_name(config.head))
                   : "");
    const Dims expected = stored_shape(parameter.shape, stored, i);
    if (missing == MissingHead::keep && labels_something(parameter) && tensor->shape != expected) {
      if (kept)
        *kept = fmt::format("{} ({} there, {} here)", stored.parts[i].name, tensor->shape.str(),
                            expected.str());
      return {};
    }
    CHECK_USER(tensor->shape == expected, "{}: tensor {} is {}, but config.json makes it {}",
               tensor->file, tensor->name, tensor->shape.str(), expected.str());
    tensors.push_back(*tensor);
  }
  return tensors;
}

void read_parameter(const std::vector<StoredTensor>& tensors, const ModelConfig& config,
                    const Parameter& parameter, const Slice& slice, float* out, Stream& stream) {
  const StoredParameter stored = stored_parameter(family(config.family), config, parameter);
  for (const StoredTensor& t : tensors)
    read_elements(t, 0, 0, out);  // names an unreadable dtype before the threads start
  const bool finite = stored.layout == Layout::transposed
                          ? read_transposed(tensors[0], slice, out, stream)
                          : read_rows(tensors, stored, config, slice, out, stream);
  CHECK_USER(finite, "{}: tensor {} holds a number that is not finite (NaN or infinity)",
             tensors[0].file, tensors[0].name);
}

std::vector<std::string> load_hf_weights(Parameters& parameters, const ModelConfig& config,
                                         const std::filesystem::path& path, Stream& stream,
                                         MissingHead missing) {
  const std::unique_ptr<WeightSource> source = open_weights(path);
  const std::vector<Parameter> all = parameters_of(config);
  std::vector<float> wide;
  std::vector<std::string> kept;
  for (LocalParameter& p : parameters.list()) {
    const Parameter* stands_for = &p.info;
    if (!p.info.tied_to.empty())
      stands_for = &*std::find_if(all.begin(), all.end(),
                                  [&](const Parameter& q) { return q.name == p.info.tied_to; });
    std::string absent;
    const std::vector<StoredTensor> tensors =
        find_parameter(*source, config, *stands_for, path.string(), missing, &absent);
    if (tensors.empty()) kept.push_back(absent);
    if (tensors.empty() || p.weight.elems() == 0) continue;
    float* out = nullptr;
    if (p.weight.dtype() == DType::f32) {
      out = p.weight.as<float>();
    } else {
      wide.resize(static_cast<std::size_t>(p.weight.elems()));
      out = wide.data();
    }
    read_parameter(tensors, config, *stands_for, p.slice, out, stream);
    if (p.weight.dtype() != DType::f32)
      narrow(p.weight, ConstView(out, p.weight.shape()),
             fmt::format("{} of {}", tensors[0].name, tensors[0].file), stream);
  }
  parameters.refresh_bf16(stream);
  return kept;
}

namespace {

// Every run of a parameter, on world rank 0: piece(first global element, values, count), from the
// ranks that own them.
template <class Piece>
void gather_runs(const Parameter& parameter, const Parameters& parameters,
                 const ModelConfig& config, const Grid& grid, View LocalParameter::*of,
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
      if (root &&
          owner == 0) {  // straight from its place: a copy would be felt in the rank's peak memory
        const float* from = (parameters.at(parameter.name).*of).template as<float>();
        for (const Run& run : runs_within(part, held))
          piece(run.global_begin, from + run.local_begin, run.size);
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
      const float* from = (parameters.at(parameter.name).*of).template as<float>();
      std::int64_t at = 0;
      for (const Run& run : runs_within(part, held)) {
        std::memcpy(packed.data() + at, from + run.local_begin,
                    static_cast<std::size_t>(run.size) * sizeof(float));
        at += run.size;
      }
      replica.send(view, 0, kTag, stream);
    }
  }
}

// to (one part of the stored parameter) = what of the run lies in it.
void place_run(float* to, const StoredParameter& stored, std::size_t part,
               const ModelConfig& config, const Dims& shape, std::int64_t begin, const float* from,
               std::int64_t n) {
  const std::int64_t O = shape[0], I = shape.rank() == 2 ? shape[1] : 1;
  if (stored.layout == Layout::transposed) {
    for (std::int64_t k = 0; k < n; ++k) to[(begin + k) % I * O + (begin + k) / I] = from[k];
    return;
  }
  while (n > 0) {
    const RowPlace place = stored_row(stored, config, begin / I);
    const std::int64_t column = begin % I, size = std::min(n, place.n_rows * I - column);
    if (place.part == part)
      std::memcpy(to + place.row * I + column, from,
                  static_cast<std::size_t>(size) * sizeof(float));
    begin += size;
    from += size;
    n -= size;
  }
}

}  // namespace

std::vector<float> gather_parameter(const Parameter& parameter, const Parameters& parameters,
                                    const ModelConfig& config, const Grid& grid,
                                    View LocalParameter::*of, Stream& stream) {
  std::vector<float> whole(
      grid.world().rank() == 0 ? static_cast<std::size_t>(parameter.shape.elems()) : 0);
  gather_runs(parameter, parameters, config, grid, of, stream,
              [&](std::int64_t begin, const float* from, std::int64_t n) {
                std::memcpy(whole.data() + begin, from,
                            static_cast<std::size_t>(n) * sizeof(float));
              });
  return whole;
}

std::vector<float> gather_stored(const Parameter& parameter, std::size_t part,
                                 const Parameters& parameters, const ModelConfig& config,
                                 const Grid& grid, View LocalParameter::*of, Stream& stream) {
  const StoredParameter stored = stored_parameter(family(config.family), config, parameter);
  std::vector<float> out(
      grid.world().rank() == 0
          ? static_cast<std::size_t>(stored_shape(parameter.shape, stored, part).elems())
          : 0);
  gather_runs(parameter, parameters, config, grid, of, stream,
              [&](std::int64_t begin, const float* from, std::int64_t n) {
                place_run(out.data(), stored, part, config, parameter.shape, begin, from, n);
              });
  return out;
}

std::vector<StoredPart> stored_parts(const ModelConfig& config) {
  const Family& row = family(config.family);
  std::vector<StoredPart> list;
  for (const Parameter& p : parameters_of(config)) {
    if (!p.tied_to.empty()) continue;
    const StoredParameter stored = stored_parameter(row, config, p);
    for (std::size_t part = 0; part < stored.parts.size(); ++part)
      list.push_back({stored.parts[part].name, p, part, stored_shape(p.shape, stored, part)});
  }
  return list;
}

void lay_out_part(const StoredPart& part, const ModelConfig& config, const float* whole,
                  float* out) {
  place_run(out, stored_parameter(family(config.family), config, part.parameter), part.part, config,
            part.parameter.shape, 0, whole, part.parameter.shape.elems());
}

std::uint64_t weights_checksum(const ModelConfig& config, const WeightSource& source) {
  constexpr std::int64_t kSampled = 32;
  const Family& row = family(config.family);
  std::uint64_t sum = source.n_tensors(), place = 0;
  std::vector<float> values(kSampled);
  for (const StoredPart& part : stored_parts(config)) {
    const auto tensor = find_tensor(source, row, part.name);
    ++place;
    if (!tensor) continue;
    sum += element_checksum(
        place, text_checksum(fmt::format("{} {} {}", tensor->name, dtype_name(tensor->dtype),
                                         tensor->shape.str())));
    const std::int64_t n = std::min(kSampled, tensor->shape.elems()),
                       begin = (tensor->shape.elems() - n) / 2 / 256 * 256;
    read_elements(*tensor, begin, n, values.data());
    for (std::int64_t i = 0; i < n; ++i)
      sum += element_checksum(place << 32 | static_cast<std::uint64_t>(i),
                              std::bit_cast<std::uint32_t>(values[static_cast<std::size_t>(i)]));
  }
  return sum;
}

bool is_frequencies(const std::string& name) { return name.ends_with("inv_freq"); }

std::vector<CarriedTensor> carried_tensors(const ModelConfig& config, const WeightSource* source) {
  const Family& row = family(config.family);
  std::vector<CarriedTensor> list;
  for (const std::string& pattern : row.carried) {
    const std::size_t hole = pattern.find("{}");
    const bool frequencies = is_frequencies(pattern);
    for (std::int64_t layer = 0; layer < (hole == std::string::npos ? 1 : config.layers); ++layer) {
      std::string name = row.prefix + pattern;
      if (hole != std::string::npos)
        name.replace(row.prefix.size() + hole, 2, std::to_string(layer));
      const auto stored = source ? find_tensor(*source, row, name) : std::nullopt;
      CarriedTensor tensor = {.name = name,
                              .dtype = DType::f32,
                              .shape = {},
                              .values = {},
                              .found = stored.has_value()};
      if (stored) {
        tensor.dtype = stored->dtype == DType::bf16 || stored->dtype == DType::f16 ? stored->dtype
                                                                                   : DType::f32;
        tensor.shape = stored->shape;
        tensor.values.resize(static_cast<std::size_t>(stored->shape.elems()));
        read_elements(*stored, 0, stored->shape.elems(), tensor.values.data());
      } else if (frequencies && config.positions == Positions::rope) {
        for (std::int64_t i = 0; i < config.rope.dims; i += 2)  // in fp32, as torch does
          tensor.values.push_back(
              1.0f / std::pow(static_cast<float>(config.rope.theta),
                              static_cast<float>(i) / static_cast<float>(config.rope.dims)));
        tensor.shape = Dims{config.rope.dims / 2};
      } else {
        continue;
      }
      list.push_back(std::move(tensor));
    }
  }
  return list;
}

void add_carried(std::vector<TensorToWrite>& tensors, const std::vector<CarriedTensor>& carried,
                 std::optional<DType> dtype, Stream& stream) {
  for (const CarriedTensor& tensor : carried) {
    const DType as = is_frequencies(tensor.name) ? tensor.dtype : dtype.value_or(tensor.dtype);
    tensors.push_back(
        {tensor.name, as, tensor.shape, [&stream, tensor, as](std::span<std::byte> out) {
           if (out.empty()) return;  // a rank that does not write
           if (as == DType::f32)
             std::memcpy(out.data(), tensor.values.data(), out.size());
           else
             convert(View(out.data(), as, tensor.shape),
                     ConstView(tensor.values.data(), tensor.shape), stream);
         }});
  }
}

void write_hf_config_files(const ModelConfig& config, const std::filesystem::path& dir,
                           DType dtype) {
  make_folder(dir);
  OrderedJson json = write_hf_config(config);
  json["dtype"] = dtype == DType::f32 ? "float32" : dtype == DType::bf16 ? "bfloat16" : "float16";
  json.erase("torch_dtype");
  write_file_atomically(dir / "config.json", json.dump(2) + "\n");
  OrderedJson generation = {{"_from_model_config", true}};
  if (config.bos_id >= 0) generation["bos_token_id"] = config.bos_id;
  if (const auto ends = end_tokens(config); !ends.empty())
    generation["eos_token_id"] = ends.size() == 1 ? OrderedJson(ends[0]) : OrderedJson(ends);
  write_file_atomically(dir / "generation_config.json", generation.dump(2) + "\n");
}

void save_hf_weights(const Parameters& parameters, const ModelConfig& config, const Grid& grid,
                     const std::filesystem::path& dir, DType dtype, std::int64_t max_shard_bytes,
                     Stream& stream, const std::vector<CarriedTensor>& carried) {
  const bool writes = grid.world().rank() == 0;
  const Family& row = family(config.family);
  std::vector<TensorToWrite> tensors;
  for (const StoredPart& part : stored_parts(config)) {
    const auto fill = [&, part, writes](std::span<std::byte> out) {
      const StoredParameter stored = stored_parameter(row, config, part.parameter);
      std::vector<float> wide(
          writes && dtype != DType::f32 ? static_cast<std::size_t>(part.shape.elems()) : 0);
      float* to = dtype == DType::f32 ? reinterpret_cast<float*>(out.data()) : wide.data();
      gather_runs(part.parameter, parameters, config, grid, &LocalParameter::weight, stream,
                  [&](std::int64_t begin, const float* from, std::int64_t n) {
                    place_run(to, stored, part.part, config, part.parameter.shape, begin, from, n);
                  });
      if (!writes || dtype == DType::f32) return;
      const Dims flat = {part.shape.elems()};
      convert(View(out.data(), dtype, flat), ConstView(wide.data(), flat), stream);
    };
    tensors.push_back({part.name, dtype, part.shape, fill});
  }
  add_carried(tensors, carried, dtype, stream);
  if (writes) write_hf_config_files(config, dir, dtype);
  write_safetensors(dir, tensors, max_shard_bytes, writes);
}

}  // namespace weft
