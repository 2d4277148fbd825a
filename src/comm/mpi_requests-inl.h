// MPI's calls checked, and what of them is under way: for sources that call MPI.
#pragma once

#include <mpi.h>

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "comm/mpi_communicator.h"
#include "comm/patience.h"
#include "core/check.h"

#define MPI_CHECK(call)                                                                \
  do {                                                                                 \
    const int weft_mpi_code = (call);                                                  \
    if (weft_mpi_code != MPI_SUCCESS)                                                  \
      ::weft::throw_error(__FILE__, __LINE__, #call, ::weft::mpi_text(weft_mpi_code)); \
  } while (false)

namespace weft {

// Adds the time of its scope to a counter.
class Timed {
 public:
  explicit Timed(double& total) : total_(&total) {}
  ~Timed() { *total_ += std::chrono::duration<double>(Clock::now() - begin_).count(); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double* total_;
  Clock::time_point begin_ = Clock::now();
};

// Messages and collectives under way, waited for with patience.
class Requests {
 public:
  explicit Requests(std::shared_ptr<Patience> patience) : patience_(std::move(patience)) {}
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;
  ~Requests() {
    try {
      wait();
    } catch (const Error&) {  // of what nobody waits for any more
    }
  }
  MPI_Request* add() { return &list_.emplace_back(MPI_REQUEST_NULL); }
  bool test() {
    int done = 1;
    MPI_CHECK(
        MPI_Testall(static_cast<int>(list_.size()), list_.data(), &done, MPI_STATUSES_IGNORE));
    if (done) list_.clear();
    return done != 0;
  }
  void wait() {
    patience_->begin();
    while (!test()) patience_->pause();
  }

 private:
  std::vector<MPI_Request> list_;
  std::shared_ptr<Patience> patience_;
};

class MpiTransfer : public Transfer {
 public:
  MpiTransfer(double& seconds, std::shared_ptr<Patience> patience)
      : requests(std::move(patience)), seconds_(&seconds) {}
  void wait() override {
    const Timed timed(*seconds_);
    requests.wait();
  }
  bool test() override {
    const Timed timed(*seconds_);
    return requests.test();
  }
  Requests requests;

 private:
  double* seconds_;
};

}  // namespace weft
