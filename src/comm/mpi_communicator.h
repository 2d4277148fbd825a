// Communicators over MPI, as Mpi (comm/communicator.h) makes them, and their handle. The one header
// that shows MPI: no other header includes it (tests/core/includes_test.cpp), only the sources that
// call MPI, or a library that wants to be given its communicator.
#pragma once

#include <mpi.h>

#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "comm/patience.h"

namespace weft {

// Takes the group that `comm` names, and frees it. Collective over it; Error where MPI fails.
std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm comm,
                                                    std::shared_ptr<Patience> patience);

// The handle of the group, or of a devices' group's ranks, good as long as the communicator; none
// for `self`.
std::optional<MPI_Comm> mpi_comm_of(const Communicator& communicator);

std::string mpi_text(int code);  // MPI's words for an error

}  // namespace weft
