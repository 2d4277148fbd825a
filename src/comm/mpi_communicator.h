// Communicators over MPI, as Mpi (comm/communicator.h) makes them.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/patience.h"

namespace weft {

// Takes the group that `mpi_comm`, a pointer to MPI_Comm, names, and frees it. Collective.
std::unique_ptr<Communicator> make_mpi_communicator(const void* mpi_comm,
                                                    std::shared_ptr<Patience> patience);

std::string mpi_text(int code);  // MPI's words for an error

}  // namespace weft
