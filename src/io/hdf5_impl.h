// An open HDF5 file, as the sources of io/hdf5 see it.
#pragma once

#include <string>

#include "io/hdf5.h"
#include "io/hdf5_handle.h"

namespace weft {

struct Hdf5File::Impl {
  std::filesystem::path path;
  Hdf5Id file = -1;
  bool writes = false;
  const void* comm = nullptr;  // MPI_Comm of the ranks that opened it together
  std::string failure;         // of a write, in a file that ranks opened together

  ~Impl();
  Hdf5Handle object(const std::string& name) const;   // Damaged, or UserError: there is none
  Hdf5Handle dataset(const std::string& name) const;  // likewise
  Dims dims(const Hdf5Handle& data, const std::string& name) const;
};

}  // namespace weft
