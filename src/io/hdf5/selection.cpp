#include "io/hdf5/selection.h"

#include <hdf5.h>

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace weft {
namespace {

// Adds the flat elements [begin, begin + size) of a dataset to a selection, as at most three boxes
// a dim.
void select_flat(hid_t space, const Dims& shape, std::int64_t begin, std::int64_t size,
                 H5S_seloper_t& op) {
  const int rank = shape.rank();
  if (size == 0) return;
  if (rank == 0) return;
  // inner[d]: elements of one index of dim d
  std::vector<std::int64_t> inner(static_cast<std::size_t>(rank), 1);
  for (int d = rank - 2; d >= 0; --d)
    inner[static_cast<std::size_t>(d)] = inner[static_cast<std::size_t>(d) + 1] * shape[d + 1];
  while (size > 0) {
    // The largest box that starts here: whole indices of the outermost dim whose start is aligned.
    int d = 0;
    while (d < rank - 1 && (begin % inner[static_cast<std::size_t>(d)] != 0 ||
                            size < inner[static_cast<std::size_t>(d)]))
      ++d;
    const std::int64_t unit = inner[static_cast<std::size_t>(d)];
    hsize_t start[kMaxRank], count[kMaxRank];
    std::int64_t rest = begin;
    for (int k = 0; k < rank; ++k) {
      start[k] = static_cast<hsize_t>(rest / inner[static_cast<std::size_t>(k)]);
      rest %= inner[static_cast<std::size_t>(k)];
      count[k] = k > d ? static_cast<hsize_t>(shape[k]) : 1;
    }
    const std::int64_t units =
        std::min(size / unit, shape[d] - static_cast<std::int64_t>(start[d]));
    count[d] = static_cast<hsize_t>(units);
    H5Sselect_hyperslab(space, op, start, nullptr, count, nullptr);
    op = H5S_SELECT_OR;
    begin += units * unit;
    size -= units * unit;
  }
}

// Whether the runs are the same columns of consecutive rows of a matrix.
bool is_column_box(const Dims& shape, std::span<const FileRun> runs) {
  if (shape.rank() != 2 || runs.size() < 2 || runs[0].size == 0 ||
      runs[0].file_begin % shape[1] + runs[0].size > shape[1])
    return false;
  for (std::size_t i = 1; i < runs.size(); ++i)
    if (runs[i].size != runs[0].size || runs[i].file_begin != runs[i - 1].file_begin + shape[1])
      return false;
  return true;
}

}  // namespace

Hdf5Selection select(const Dims& shape, Hdf5Id data, ConstView buffer,
                     std::span<const FileRun> runs, const std::string& path,
                     const std::string& name) {
  const std::int64_t elems = shape.elems(), have = buffer.empty() ? 0 : buffer.elems();
  Hdf5Selection s = {Hdf5Handle(H5Dget_space(data), H5Sclose), Hdf5Handle(-1, H5Sclose)};
  const auto extent = static_cast<hsize_t>(std::max<std::int64_t>(have, 1));
  Hdf5Handle memory(H5Screate_simple(1, &extent, nullptr), H5Sclose);
  H5S_seloper_t file_op = H5S_SELECT_SET, memory_op = H5S_SELECT_SET;
  std::int64_t file_end = 0, local_end = 0;
  FileRun local = {0, 0, 0};  // pieces that touch in memory, joined
  const auto select_local = [&] {
    if (local.size == 0) return;
    const auto start = static_cast<hsize_t>(local.local_begin),
               count = static_cast<hsize_t>(local.size);
    H5Sselect_hyperslab(memory, memory_op, &start, nullptr, &count, nullptr);
    memory_op = H5S_SELECT_OR;
  };
  const bool box = is_column_box(shape, runs);
  if (box) {  // one box instead of a piece a row: HDF5 joins pieces in quadratic time
    const hsize_t start[2] = {static_cast<hsize_t>(runs[0].file_begin / shape[1]),
                              static_cast<hsize_t>(runs[0].file_begin % shape[1])};
    const hsize_t count[2] = {static_cast<hsize_t>(runs.size()),
                              static_cast<hsize_t>(runs[0].size)};
    H5Sselect_hyperslab(s.file, H5S_SELECT_SET, start, nullptr, count, nullptr);
  }
  for (const FileRun& run : runs) {
    CHECK(run.file_begin >= file_end && run.local_begin >= local_end && run.size >= 0 &&
              run.file_begin + run.size <= elems && run.local_begin + run.size <= have,
          "{}: {}: run {}+{} of {} elements", path, name, run.file_begin, run.size, elems);
    file_end = run.file_begin + run.size;
    local_end = run.local_begin + run.size;
    if (run.size == 0) continue;
    if (!box) select_flat(s.file, shape, run.file_begin, run.size, file_op);
    if (local.local_begin + local.size == run.local_begin) {
      local.size += run.size;
    } else {
      select_local();
      local = run;
    }
  }
  select_local();
  if (memory_op == H5S_SELECT_SET) {
    H5Sselect_none(s.file);
    H5Sselect_none(memory);
  }
  return {std::move(s.file), std::move(memory)};
}

}  // namespace weft
