// An open HDF5 file, as the sources of io/hdf5 see it.
#pragma once

#include <string>

#include "io/hdf5/handle.h"
#include "io/hdf5/hdf5.h"

namespace weft {

// How a file is opened; HDF5 prints nothing from then on.
enum class Hdf5Lock : std::uint8_t { none, shared };
Hdf5Handle hdf5_access(Hdf5Lock lock);

struct Hdf5File::Impl {
  std::filesystem::path path;
  Hdf5Id file = -1;
  bool writes = false;
  std::string failure;            // of a write, in a file that ranks opened together
  Communicator* group = nullptr;  // those ranks
  Stream* stream = nullptr;

  ~Impl();
  Hdf5Handle object(const std::string& name) const;   // Damaged, or UserError: there is none
  Hdf5Handle dataset(const std::string& name) const;  // likewise
  bool any(bool mine) const;  // whether one of the group says so; collective over it
  Dims dims(const Hdf5Handle& data, const std::string& name) const;
};

}  // namespace weft
