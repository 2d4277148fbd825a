// Who started this process: told by what launchers set in the environment of each process that they
// start, never by what a batch script has anyway (SLURM_NTASKS, PBS_NODEFILE).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

enum class MpiFamily : std::uint8_t { open_mpi, mpich };  // mpich: with Cray's, Intel's, MVAPICH

// By the first words of MPI_Get_library_version.
MpiFamily mpi_family(std::string_view library_version);

struct Launcher {
  // Whether the MPI built in finds the launcher's other processes.
  enum class Match : std::uint8_t {
    own,      // it does
    unknown,  // it may: the number of ranks that it finds will tell
    foreign,  // it does not: each process would be a single rank
  };
  Match match = Match::unknown;
  std::string variables;  // what it was told by, "PMI_RANK and PMI_SIZE"
  int rank = 0;
  int size = 0;  // 0: not said
};

using Environment = std::function<const char*(const char* name)>;  // as std::getenv

// None where no launcher started this process.
std::optional<Launcher> find_launcher(MpiFamily built, const Environment& get);

// What to tell the user where the processes of a launcher would be single ranks, all of the same
// work.
std::string other_launcher_text(const Launcher& launcher, std::string_view library_version);

// Of srun's tasks without any PMI, which are runs of their own: how many, in the first. Else 1.
int tasks_without_pmi(const Environment& get);

}  // namespace weft
