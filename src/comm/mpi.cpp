// Starting and stopping MPI.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "comm/communicator.h"
#include "comm/launcher.h"
#include "comm/mpi_communicator.h"
#include "core/check.h"
#include "core/log.h"

namespace weft {
namespace {

void succeed(int code, const char* what) {
  CHECK(code == MPI_SUCCESS, "MPI: {} failed ({})", what, mpi_text(code));
}

bool mpi_running() {
  int started = 0, stopped = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&stopped);
  return started && !stopped;
}

std::optional<Launcher> launcher_here() {
  return find_launcher(mpi_family(Mpi::library_version()), std::getenv);
}

// Where all processes of the launcher are refused, the first one speaks; the others give it time,
// since a launcher ends everybody as soon as one has failed.
[[noreturn]] void refuse(const Launcher& launcher) {
  const bool all_are = launcher.match == Launcher::Match::foreign || launcher.size > 1;
  if (launcher.rank > 0 && all_are) {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    Mpi::abort(2);
  }
  throw UserError(other_launcher_text(launcher, Mpi::library_version()));
}

}  // namespace

// What is there once MPI has started.
struct Mpi::Started {
  Started(int* argc, char*** argv) {
    int provided = 0;
    succeed(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "start");
    if (provided < MPI_THREAD_FUNNELED)
      log_warning("this MPI was built without thread support; a rank's threads may disturb it");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    succeed(MPI_Comm_dup(MPI_COMM_WORLD, &arrivals), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(arrivals, MPI_ERRORS_RETURN);
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;
  ~Started() {
    if (mpi_running()) MPI_Finalize();
  }
  Place place() const {
    Place p;
    MPI_Comm host;
    succeed(MPI_Comm_rank(MPI_COMM_WORLD, &p.rank), "MPI_Comm_rank");
    succeed(MPI_Comm_size(MPI_COMM_WORLD, &p.size), "MPI_Comm_size");
    succeed(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
    succeed(MPI_Comm_rank(host, &p.rank_on_host), "MPI_Comm_rank");
    succeed(MPI_Comm_size(host, &p.ranks_on_host), "MPI_Comm_size");
    MPI_Comm_free(&host);
    return p;
  }

  MPI_Comm arrivals = MPI_COMM_NULL;  // of all_arrive alone: its barrier may stay unfinished
  std::shared_ptr<Patience> patience = std::make_shared<Patience>();
};

Mpi::Mpi(int* argc, char*** argv) {
  const auto launcher = launcher_here();
  if (const int tasks = tasks_without_pmi(std::getenv); !launcher && tasks > 1)
    log_warning(
        "srun started {} tasks without a PMI, so each is a run of its own; ranks of one run need "
        "srun --mpi=pmix, or what `srun --mpi=list` has for this MPI",
        tasks);
  if (!launcher || launcher->size == 1) return;
  if (launcher->match == Launcher::Match::foreign) refuse(*launcher);
  started_ = std::make_unique<Started>(argc, argv);
  place_ = started_->place();
  set_error_rank(place_.rank, place_.size);
  if (place_.size > 1 || (launcher->size < 2 && launcher->rank == 0)) return;
  started_.reset();
  refuse(*launcher);
}

Mpi::~Mpi() = default;

std::unique_ptr<Communicator> Mpi::world() const {
  if (!started_) return make_self_communicator();
  MPI_Comm copy;
  succeed(MPI_Comm_dup(MPI_COMM_WORLD, &copy), "MPI_Comm_dup");
  return make_mpi_communicator(copy, started_->patience);
}

bool Mpi::all_arrive(double timeout_s) const {
  if (!started_) return true;
  MPI_Request request;
  if (MPI_Ibarrier(started_->arrivals, &request) != MPI_SUCCESS) return false;
  const auto now = std::chrono::steady_clock::now;
  const auto end = now() + std::chrono::duration<double>(timeout_s);
  started_->patience->begin();
  for (int done = 0; !done;) {
    if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
    if (done) break;
    if (now() > end) return false;
    started_->patience->pause();
  }
  return true;
}

std::string Mpi::library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string line(text, strnlen(text, static_cast<std::size_t>(length)));
  line = line.substr(0, line.find('\n'));
  std::ranges::replace(line, '\t', ' ');
  return line.substr(0, line.find_last_not_of(' ') + 1);
}

int Mpi::launched_rank() {
  const auto launcher = launcher_here();
  return launcher ? launcher->rank : 0;
}

void Mpi::give_way(int rank) {
  std::this_thread::sleep_for(std::chrono::milliseconds(300) * std::min(rank, 10));
}

void Mpi::abort(int exit_code) {
  if (mpi_running()) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace weft
