// What is inside this weft.
#pragma once

#include "io/json.h"

namespace weft {

OrderedJson build_info();  // version, commit, compiler, mpi, hdf5, matmul, cuda, nccl
void print_version(bool json);

}  // namespace weft
