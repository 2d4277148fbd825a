#include "formats/hf_parameter.h"

#include <algorithm>
#include <atomic>

#include "core/check.h"
#include "core/parallel.h"
#include "formats/hf_layout.h"

namespace weft {
namespace {

// A float is finite iff x - x is 0; the loop vectorises.
bool all_finite(const float* x, std::int64_t n) {
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) finite &= x[i] - x[i] == 0.0f;
  return finite;
}

// Rows of ours at a time, and columns at a time: a block that the first cache holds while it is
// turned.
constexpr std::int64_t kBlock = 32;

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

bool belongs_to_head(const Parameter& p) {
  return p.layer == kHead && !p.name.starts_with("final_norm");
}
// The tensors whose shape the number of labels decides.
bool labels_something(const Parameter& p) {
  return p.name.starts_with("labels.") || p.name.starts_with("token_labels.");
}

// The tensors that a parameter is stored in. transformers ties both ways: a token table that is
// missing is the tied head.
std::optional<StoredTensor> find_part(const TensorSource& source, const ModelConfig& config,
                                      const Parameter& parameter, const std::string& name) {
  const Family& row = family(config.family);
  if (auto tensor = find_tensor(source, row, name)) return tensor;
  if (parameter.name == "embed.tokens.weight" && config.tied_head && config.has_lm_head())
    return find_stored(source, config, "head.weight");
  return std::nullopt;
}

}  // namespace

std::vector<Range> ranges_along(const Slice& slice, int dim) {
  return slice.dim == dim ? slice.ranges : std::vector<Range>{{0, slice.global[dim]}};
}

std::optional<StoredTensor> find_stored(const TensorSource& source, const ModelConfig& config,
                                        const std::string& parameter) {
  const Family& row = family(config.family);
  for (const Parameter& p : parameters_of(config)) {
    if (p.name != parameter) continue;
    const StoredParameter stored = stored_parameter(row, config, p);
    return find_tensor(source, row, stored.parts.at(0).name);
  }
  return std::nullopt;
}

std::vector<StoredTensor> find_parameter(const TensorSource& source, const ModelConfig& config,
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

}  // namespace weft
