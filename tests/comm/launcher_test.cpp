// Played environments: what each launcher sets, and what batch scripts have anyway.
#include "comm/launcher.h"

#include <gtest/gtest.h>

#include <map>

namespace weft {
namespace {

using Variables = std::map<std::string, std::string>;
using Match = Launcher::Match;

Environment played(const Variables& variables) {
  return [&variables](const char* name) -> const char* {
    const auto at = variables.find(name);
    return at == variables.end() ? nullptr : at->second.c_str();
  };
}

std::optional<Launcher> found(MpiFamily built, const Variables& variables) {
  return find_launcher(built, played(variables));
}

void expect(const std::optional<Launcher>& launcher, Match match, int rank, int size) {
  ASSERT_TRUE(launcher);
  EXPECT_EQ(launcher->match, match);
  EXPECT_EQ(launcher->rank, rank);
  EXPECT_EQ(launcher->size, size);
}

TEST(Launcher, BatchScriptsAndShellsAreNone) {
  const Variables slurm_batch = {{"SLURM_JOB_ID", "7"},
                                 {"SLURM_NTASKS", "8"},
                                 {"SLURM_PROCID", "0"},
                                 {"SLURM_NNODES", "2"}},
                  pbs_batch = {{"PBS_NODEFILE", "/var/spool/nodes"}, {"PBS_JOBID", "7"}},
                  half = {{"PMI_RANK", "0"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"PMIX_RANK", "0"}},
                  nonsense = {{"OMPI_COMM_WORLD_SIZE", "two"},
                              {"PMI_RANK", "-1"},
                              {"PMI_SIZE", "2"},
                              {"PALS_RANKID", ""}};
  for (const MpiFamily built : {MpiFamily::open_mpi, MpiFamily::mpich})
    for (const Variables& variables : {Variables{}, slurm_batch, pbs_batch, half, nonsense})
      EXPECT_FALSE(found(built, variables));
  EXPECT_EQ(tasks_without_pmi(played(slurm_batch)), 1);
}

TEST(Launcher, OpenMpi) {
  const Variables mpiexec = {{"OMPI_COMM_WORLD_SIZE", "4"},
                             {"OMPI_COMM_WORLD_RANK", "3"},
                             {"PMIX_RANK", "3"},
                             {"PMIX_NAMESPACE", "1"}};
  expect(found(MpiFamily::open_mpi, mpiexec), Match::own, 3, 4);
  expect(found(MpiFamily::mpich, mpiexec), Match::unknown, 3, 4);  // it may be built with PMIx
  expect(found(MpiFamily::mpich, {{"OMPI_COMM_WORLD_SIZE", "2"}}), Match::foreign, 0, 2);
}

TEST(Launcher, HydraAndPals) {
  const Variables hydra = {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"PMI_FD", "5"}},
                  pals = {{"PALS_RANKID", "2"}, {"PALS_NODEID", "0"}};
  expect(found(MpiFamily::mpich, hydra), Match::own, 1, 2);
  expect(found(MpiFamily::open_mpi, hydra), Match::foreign, 1, 2);
  expect(found(MpiFamily::mpich, pals), Match::unknown, 2, 0);
  expect(found(MpiFamily::open_mpi, pals), Match::foreign, 2, 0);
}

TEST(Launcher, Slurm) {
  Variables srun = {{"SLURM_STEP_ID", "0"},
                    {"SLURM_PROCID", "0"},
                    {"SLURM_STEP_NUM_TASKS", "4"},
                    {"SLURM_NTASKS", "4"}};
  EXPECT_FALSE(found(MpiFamily::open_mpi, srun));  // --mpi=none: four runs, of which one says so
  EXPECT_EQ(tasks_without_pmi(played(srun)), 4);
  srun["SLURM_PROCID"] = "1";
  EXPECT_EQ(tasks_without_pmi(played(srun)), 1);

  Variables pmi2 = srun, pmix = srun;
  pmi2.insert({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}});
  expect(found(MpiFamily::open_mpi, pmi2), Match::unknown, 1, 4);
  expect(found(MpiFamily::mpich, pmi2), Match::own, 1, 4);
  pmix.insert({{"PMIX_RANK", "1"}, {"PMIX_NAMESPACE", "slurm.pmix.7.0"}});
  expect(found(MpiFamily::open_mpi, pmix), Match::unknown, 1, 4);
  EXPECT_EQ(tasks_without_pmi(played(pmix)), 1);
}

// A launcher inside another's process: the one that the MPI built in knows counts.
TEST(Launcher, NestedLaunchers) {
  const Variables both = {{"OMPI_COMM_WORLD_SIZE", "2"},
                          {"OMPI_COMM_WORLD_RANK", "1"},
                          {"PMI_RANK", "0"},
                          {"PMI_SIZE", "3"}};
  expect(found(MpiFamily::open_mpi, both), Match::own, 1, 2);
  expect(found(MpiFamily::mpich, both), Match::own, 0, 3);
}

TEST(Launcher, SaysWhatToDo) {
  const Variables hydra = {{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}};
  EXPECT_EQ(mpi_family("Open MPI v4.1.4, package: Debian OpenMPI"), MpiFamily::open_mpi);
  EXPECT_EQ(mpi_family("MPICH Version:      4.0.2"), MpiFamily::mpich);
  const std::string text = other_launcher_text(*found(MpiFamily::open_mpi, hydra),
                                               "Open MPI v4.1.4, package: Debian OpenMPI");
  for (const char* part :
       {"process 0 of 2", "PMI_RANK and PMI_SIZE", "built with Open MPI v4.1.4, and", "unset"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
}

}  // namespace
}  // namespace weft
