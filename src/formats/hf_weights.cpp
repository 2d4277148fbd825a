#include "formats/hf_weights.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/check.h"
#include "core/checksum.h"
#include "core/parallel.h"
#include "formats/families.h"
#include "formats/narrow.h"
#include "formats/weight_source.h"
#include "formats/weights_checksum.h"
#include "io/files.h"
#include "io/weights/safetensors.h"
#include "kernels/ops.h"

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

bool belongs_to_head(const Parameter& p) {
  return p.layer == kHead && !p.name.starts_with("final_norm");
}
// The tensors whose shape the number of labels decides.
bool labels_something(const Parameter& p) {
  return p.name.starts_with("labels.") || p.name.starts_with("token_labels.");
}

// The tensors that a parameter is stored in. transformers ties both ways: a token table that is
// missing is the tied head.
std::optional<StoredTensor> find_part(const WeightSource& source, const ModelConfig& config,
                                      const Parameter& parameter, const std::string& name) {
  const Family& row = family(config.family);
  if (auto tensor = find_tensor(source, row, name)) return tensor;
  if (parameter.name == "embed.tokens.weight" && config.tied_head && config.has_lm_head())
    return find_stored(source, config, "head.weight");
  return std::nullopt;
}

}  // namespace

std::optional<StoredTensor> find_stored(const WeightSource& source, const ModelConfig& config,
                                        const std::string& parameter) {
  const Family& row = family(config.family);
  for (const Parameter& p : parameters_of(config)) {
    if (p.name != parameter) continue;
    const StoredParameter stored = stored_parameter(row, config, p);
    return find_tensor(source, row, stored.parts.at(0).name);
  }
  return std::nullopt;
}

std::vector<StoredTensor> find_parameter(const WeightSource& source, const ModelConfig& config,
                                         const Parameter& parameter, const std::string& origin,
                                         MissingHead missing, KeptTensor* kept) {
  const Family& row = family(config.family);
  const StoredParameter stored = stored_parameter(row, config, parameter);
  std::vector<StoredTensor> tensors;
  for (std::size_t i = 0; i < stored.parts.size(); ++i) {
    const auto tensor = find_part(source, config, parameter, stored.parts[i].name);
    if (!tensor && belongs_to_head(parameter) && missing == MissingHead::keep) {
      if (kept) *kept = {stored.parts[i].name, ""};
      return {};
    }
    if (!tensor) {
      const std::string& name = stored.parts[i].name;
      std::string hint = hint_of_names(source, name);
      if (hint.empty() && name.starts_with(row.prefix))
        hint = hint_of_names(source, name.substr(row.prefix.size()));
      if (hint.empty() && belongs_to_head(parameter))
        hint = fmt::format("; was it saved as a {}?", head_name(config.head));
      user_error("{}: tensor {} is missing ({} tensors are there){}", origin, stored.parts[i].name,
                 source.n_tensors(), hint);
    }
    if (!tensor->unreadable.empty()) read_elements(*tensor, 0, 0, nullptr);  // says why
    const Dims expected = stored_shape(parameter.shape, stored, i);
    if (missing == MissingHead::keep && labels_something(parameter) && tensor->shape != expected) {
      if (kept)
        *kept = {stored.parts[i].name,
                 fmt::format("{} there, {} here", tensor->shape.str(), expected.str())};
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

namespace {

// The rows that the files have, then the new ones; the slice is of rows, as all that are by token.
void read_with_new_rows(const std::vector<StoredTensor>& tensors, const ModelConfig& config,
                        const Parameter& parameter, const Slice& slice, const NewTokens& tokens,
                        float* out, Stream& stream) {
  const Parameter old = with_tokens(parameter, tokens.n_old);
  const std::int64_t columns = parameter.shape.rank() == 2 ? parameter.shape[1] : 1;
  for (const Range& rows : ranges_along(slice, 0)) {
    const Range there = {std::min(rows.begin, tokens.n_old), std::min(rows.end, tokens.n_old)},
                fresh = {std::max(rows.begin, tokens.n_old), std::max(rows.end, tokens.n_old)};
    if (there.size() > 0)
      read_parameter(tensors, config, old, {old.shape, 0, {there}}, out, stream);
    fill_new_rows(tensors[0], parameter, config.tied_head, tokens, fresh,
                  out + there.size() * columns);
    out += rows.size() * columns;
  }
}

}  // namespace

std::vector<KeptTensor> load_hf_weights(Parameters& parameters, const ModelConfig& config,
                                        const std::filesystem::path& path, Stream& stream,
                                        const LoadOptions& options) {
  const std::unique_ptr<WeightSource> source = open_weights(path);
  const std::vector<Parameter> all = parameters_of(config);
  std::vector<float> wide;
  std::vector<KeptTensor> kept;
  for (LocalParameter& p : parameters.list()) {
    const Parameter* stands_for = &p.info;
    if (!p.info.tied_to.empty())
      stands_for = &*std::find_if(all.begin(), all.end(),
                                  [&](const Parameter& q) { return q.name == p.info.tied_to; });
    const bool grows = options.new_tokens.n_old > 0 && is_by_token(*stands_for);
    const Parameter stored =
        grows ? with_tokens(*stands_for, options.new_tokens.n_old) : *stands_for;
    KeptTensor absent;
    const std::vector<StoredTensor> tensors =
        find_parameter(*source, config, stored, path.string(), options.missing, &absent);
    if (tensors.empty()) kept.push_back(absent);
    if (tensors.empty() || p.weight.elems() == 0) continue;
    float* out = nullptr;
    if (p.weight.dtype() == DType::f32) {
      out = p.weight.as<float>();
    } else {
      wide.resize(static_cast<std::size_t>(p.weight.elems()));
      out = wide.data();
    }
    if (grows)
      read_with_new_rows(tensors, config, *stands_for, p.slice, options.new_tokens, out, stream);
    else
      read_parameter(tensors, config, *stands_for, p.slice, out, stream);
    if (p.weight.dtype() != DType::f32)
      narrow(p.weight, ConstView(out, p.weight.shape()),
             fmt::format("{} of {}", tensors[0].name, tensors[0].file), stream);
  }
  parameters.refresh_bf16(stream);
  return kept;
}

std::string warning_of_untied(const ModelConfig& config, const std::string& path) {
  if (config.tied_head || !config.has_lm_head() || !config.source.is_object()) return "";
  const bool says =
      config.source.value("tie_word_embeddings", family(config.family).defaults.tied_head);
  if (!says) return "";
  const std::vector<StoredPart> parts = stored_parts(config);
  const auto head = std::find_if(parts.begin(), parts.end(), [](const StoredPart& part) {
    return part.parameter.name == "head.weight";
  });
  return fmt::format(
      "{}: config.json ties the head to the token table, but the files hold {} with other values, "
      "so it is NOT tied, as in transformers 5; set tie_word_embeddings to false to say so",
      path, head->name);
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
