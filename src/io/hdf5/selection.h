// Which elements of a dataset and of a buffer a transfer moves.
#pragma once

#include <span>
#include <string>

#include "core/tensor.h"
#include "io/hdf5/handle.h"
#include "io/hdf5/hdf5.h"

namespace weft {

struct Hdf5Selection {
  Hdf5Handle file, memory;
};

// The runs of `data`, a dataset of this shape, and their places in the buffer. Error: runs that do
// not rise, or lie outside of either.
Hdf5Selection select(const Dims& shape, Hdf5Id data, ConstView buffer,
                     std::span<const FileRun> runs, const std::string& path,
                     const std::string& name);

}  // namespace weft
