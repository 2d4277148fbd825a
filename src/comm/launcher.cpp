#include "comm/launcher.h"

#include <fmt/format.h>

#include <charconv>

namespace weft {
namespace {

// The whole number that a variable holds; none where it is unset or holds something else.
std::optional<int> number(const Environment& get, const char* name) {
  const char* text = get(name);
  if (!text) return std::nullopt;
  const std::string_view digits = text;
  int value = 0;
  const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value);
  if (error != std::errc() || end != digits.end() || value < 0) return std::nullopt;
  return value;
}

// mpiexec of Open MPI 1.3 to 5.
std::optional<Launcher> open_mpi(MpiFamily built, const Environment& get) {
  const auto size = number(get, "OMPI_COMM_WORLD_SIZE");
  if (!size) return std::nullopt;
  return Launcher{
      .match = built == MpiFamily::open_mpi ? Launcher::Match::own : Launcher::Match::foreign,
      .variables = "OMPI_COMM_WORLD_SIZE",
      .rank = number(get, "OMPI_COMM_WORLD_RANK").value_or(0),
      .size = *size};
}

// srun's tasks of this step. Inside a step SLURM_NTASKS is the step's too.
int slurm_step_size(const Environment& get) {
  if (!get("SLURM_STEP_ID")) return 0;
  const auto size = number(get, "SLURM_STEP_NUM_TASKS");
  return size ? *size : number(get, "SLURM_NTASKS").value_or(0);
}

// prte, srun --mpi=pmix, PALS with --pmi=pmix, jsrun. PMIx keeps the size to itself, but some
// launchers say it besides.
std::optional<Launcher> pmix(MpiFamily, const Environment& get) {
  const auto rank = number(get, "PMIX_RANK");
  if (!rank || !get("PMIX_NAMESPACE")) return std::nullopt;
  return Launcher{.match = Launcher::Match::unknown,
                  .variables = "PMIX_RANK and PMIX_NAMESPACE",
                  .rank = *rank,
                  .size = number(get, "OMPI_COMM_WORLD_SIZE").value_or(slurm_step_size(get))};
}

// Hydra (mpiexec of MPICH and Intel MPI), srun --mpi=pmi2, PALS, Flux.
std::optional<Launcher> pmi(MpiFamily built, const Environment& get) {
  const auto rank = number(get, "PMI_RANK"), size = number(get, "PMI_SIZE");
  if (!rank || !size) return std::nullopt;
  const bool slurm = get("SLURM_STEP_ID") != nullptr;  // some Open MPI 4 speak Slurm's PMI
  return Launcher{.match = built == MpiFamily::mpich ? Launcher::Match::own
                           : slurm                   ? Launcher::Match::unknown
                                                     : Launcher::Match::foreign,
                  .variables = "PMI_RANK and PMI_SIZE",
                  .rank = *rank,
                  .size = *size};
}

// mpiexec of HPE's PALS without the PMI variables.
std::optional<Launcher> pals(MpiFamily built, const Environment& get) {
  const auto rank = number(get, "PALS_RANKID");
  if (!rank) return std::nullopt;
  return Launcher{
      .match = built == MpiFamily::mpich ? Launcher::Match::unknown : Launcher::Match::foreign,
      .variables = "PALS_RANKID",
      .rank = *rank,
      .size = 0};
}

}  // namespace

MpiFamily mpi_family(std::string_view library_version) {
  return library_version.starts_with("Open MPI") ? MpiFamily::open_mpi : MpiFamily::mpich;
}

// Launchers nest, and a process inherits what the outer one set: the one that the MPI built in
// knows best is asked first.
std::optional<Launcher> find_launcher(MpiFamily built, const Environment& get) {
  using Find = std::optional<Launcher> (*)(MpiFamily, const Environment&);
  static constexpr Find kOpenMpi[] = {open_mpi, pmix, pmi, pals},
                        kMpich[] = {pmi, pals, pmix, open_mpi};
  for (const Find find : built == MpiFamily::open_mpi ? kOpenMpi : kMpich)
    if (auto launcher = find(built, get)) return launcher;
  return std::nullopt;
}

std::string other_launcher_text(const Launcher& launcher, std::string_view library_version) {
  const std::string of = launcher.size > 0 ? fmt::format("{} of {}", launcher.rank, launcher.size)
                                           : std::to_string(launcher.rank);
  return fmt::format(
      "started as process {} by the launcher of another MPI ({} set): this weft is built with {}, "
      "and each process would be a single rank that does all the work; start it with that MPI's "
      "own "
      "mpiexec (or srun --mpi=pmix), or unset {} to run it alone",
      of, launcher.variables + (launcher.variables.find(' ') == std::string::npos ? " is" : " are"),
      library_version.substr(0, library_version.find(',')), launcher.variables);
}

int tasks_without_pmi(const Environment& get) {
  if (!get("SLURM_STEP_ID") || get("PMI_RANK") || get("PMIX_RANK")) return 1;
  if (number(get, "SLURM_PROCID") != 0) return 1;
  return number(get, "SLURM_STEP_NUM_TASKS").value_or(1);
}

}  // namespace weft
