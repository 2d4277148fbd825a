// Collectives over host memory by MPI 3. Operations of more than kChunk elements are cut, since MPI
// counts are ints.
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "comm/communicator.h"
#include "core/check.h"
#include "core/log.h"

#define MPI_CHECK(call)                                                                \
  do {                                                                                 \
    const int weft_mpi_code = (call);                                                  \
    if (weft_mpi_code != MPI_SUCCESS)                                                  \
      ::weft::throw_error(__FILE__, __LINE__, #call, ::weft::mpi_text(weft_mpi_code)); \
  } while (false)

namespace weft {
namespace {

constexpr std::int64_t kChunk = std::int64_t{1} << 28;  // elements; 2 GiB of fp64

std::string mpi_text(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return std::string(text, static_cast<std::size_t>(length));
}

MPI_Datatype reducible(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return MPI_FLOAT;
    case DType::f64:
      return MPI_DOUBLE;
    case DType::i32:
      return MPI_INT32_T;
    case DType::i64:
      return MPI_INT64_T;
    default:
      break;
  }
  CHECK(false, "a reduction over ranks takes fp32, fp64, int32 or int64, not {}",
        dtype_name(dtype));
}

MPI_Op mpi_op(ReduceOp op) {
  return op == ReduceOp::sum ? MPI_SUM : op == ReduceOp::max ? MPI_MAX : MPI_MIN;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Adds the time of its scope to a counter.
class Timed {
 public:
  explicit Timed(double& total) : total_(&total), begin_(now()) {}
  ~Timed() { *total_ += now() - begin_; }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  double* total_;
  double begin_;
};

class MpiTransfer : public Transfer {
 public:
  explicit MpiTransfer(double& seconds) : seconds_(&seconds) {}
  ~MpiTransfer() override {
    if (!requests_.empty())
      MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE);
  }
  MPI_Request* add() { return &requests_.emplace_back(MPI_REQUEST_NULL); }
  void wait() override {
    const Timed timed(*seconds_);
    MPI_CHECK(
        MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE));
    requests_.clear();
  }
  bool test() override {
    const Timed timed(*seconds_);
    int done = 1;
    MPI_CHECK(MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &done,
                          MPI_STATUSES_IGNORE));
    if (done) requests_.clear();
    return done != 0;
  }

 private:
  std::vector<MPI_Request> requests_;
  double* seconds_;
};

class MpiCommunicator : public Communicator {
 public:
  explicit MpiCommunicator(MPI_Comm comm) : comm_(comm) {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_CHECK(MPI_Comm_rank(comm_, &rank_));
    MPI_CHECK(MPI_Comm_size(comm_, &size_));
    MPI_Comm host;
    MPI_CHECK(MPI_Comm_split_type(comm_, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
    int on_host = 0;
    MPI_CHECK(MPI_Comm_size(host, &on_host));
    MPI_CHECK(MPI_Comm_free(&host));
    int least = on_host;
    MPI_CHECK(MPI_Allreduce(&on_host, &least, 1, MPI_INT, MPI_MIN, comm_));
    one_host_ = least == size_;
  }
  ~MpiCommunicator() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized) MPI_Comm_free(&comm_);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view backend() const override { return "mpi"; }
  bool on_one_host() const override { return one_host_; }
  const MPI_Comm* native() const { return &comm_; }

  std::unique_ptr<Communicator> split(int color, int key) const override {
    MPI_Comm part;
    MPI_CHECK(MPI_Comm_split(comm_, color, key, &part));
    return std::make_unique<MpiCommunicator>(part);
  }

  void barrier() override {
    const Timed timed(seconds_);
    MPI_CHECK(MPI_Barrier(comm_));
  }

  void broadcast(View x, int root, Stream&) override {
    const Timed timed(seconds_);
    count(x.bytes());
    each_chunk(x.bytes(), [&](std::int64_t at, int n) {
      MPI_CHECK(MPI_Bcast(byte(x.data(), at), n, MPI_BYTE, root, comm_));
    });
  }

  void all_reduce(View x, ReduceOp op, Stream&) override {
    const Timed timed(seconds_);
    count(x.bytes());
    const auto width = static_cast<std::int64_t>(dtype_bytes(x.dtype()));
    each_chunk(static_cast<std::size_t>(x.elems()), [&](std::int64_t at, int n) {
      MPI_CHECK(MPI_Allreduce(MPI_IN_PLACE, byte(x.data(), at * width), n, reducible(x.dtype()),
                              mpi_op(op), comm_));
    });
  }

  void reduce_scatter(View out, ConstView in, ReduceOp op, Stream&) override {
    CHECK(out.elems() * size_ == in.elems() && out.dtype() == in.dtype(),
          "reduce_scatter: {} into {} on {} ranks", in.shape().str(), out.shape().str(), size_);
    CHECK(in.elems() <= kChunk, "reduce_scatter: {} elements at once; at most {}", in.elems(),
          kChunk);
    const Timed timed(seconds_);
    count(in.bytes());
    MPI_CHECK(MPI_Reduce_scatter_block(in.data(), out.data(), static_cast<int>(out.elems()),
                                       reducible(in.dtype()), mpi_op(op), comm_));
  }

  void all_gather(View out, ConstView in, Stream& stream) override {
    CHECK(out.elems() == in.elems() * size_ && out.dtype() == in.dtype(),
          "all_gather: {} of each of {} ranks into {}", in.shape().str(), size_, out.shape().str());
    const std::vector<std::int64_t> counts(static_cast<std::size_t>(size_), in.elems());
    all_gather(out, in, counts, stream);
  }

  // Each rank's part is broadcast when it exceeds what a count can say; else one call.
  void all_gather(View out, ConstView in, std::span<const std::int64_t> counts,
                  Stream& stream) override {
    CHECK(static_cast<int>(counts.size()) == size_ &&
              counts[static_cast<std::size_t>(rank_)] == in.elems(),
          "all_gather: counts do not fit {} ranks or {} elements", size_, in.elems());
    const auto width = static_cast<std::int64_t>(dtype_bytes(in.dtype()));
    std::vector<int> bytes, begins;
    std::int64_t total = 0;
    for (std::int64_t n : counts) {
      begins.push_back(static_cast<int>(std::min(total, kChunk)));
      bytes.push_back(static_cast<int>(std::min(n * width, kChunk)));
      total += n * width;
    }
    CHECK(total == static_cast<std::int64_t>(out.bytes()), "all_gather: {} bytes into {}", total,
          out.bytes());
    if (total <= kChunk) {
      const Timed timed(seconds_);
      count(in.bytes());
      MPI_CHECK(MPI_Allgatherv(in.data(), bytes[static_cast<std::size_t>(rank_)], MPI_BYTE,
                               out.data(), bytes.data(), begins.data(), MPI_BYTE, comm_));
      return;
    }
    std::int64_t at = 0;
    for (int r = 0; r < size_; ++r) {
      const std::int64_t n = counts[static_cast<std::size_t>(r)] * width;
      if (r == rank_ && n) std::memcpy(byte(out.data(), at), in.data(), in.bytes());
      broadcast(View(byte(out.data(), at), DType::u8, Dims{n}), r, stream);
      at += n;
    }
  }

  void send(ConstView x, int to, int tag, Stream& stream) override {
    start_send(x, to, tag, stream)->wait();
  }
  void recv(View x, int from, int tag, Stream& stream) override {
    start_recv(x, from, tag, stream)->wait();
  }

  std::unique_ptr<Transfer> start_all_reduce(View x, ReduceOp op, Stream&) override {
    const Timed timed(seconds_);
    count(x.bytes());
    auto transfer = std::make_unique<MpiTransfer>(seconds_);
    const auto width = static_cast<std::int64_t>(dtype_bytes(x.dtype()));
    each_chunk(static_cast<std::size_t>(x.elems()), [&](std::int64_t at, int n) {
      MPI_CHECK(MPI_Iallreduce(MPI_IN_PLACE, byte(x.data(), at * width), n, reducible(x.dtype()),
                               mpi_op(op), comm_, transfer->add()));
    });
    return transfer;
  }
  std::unique_ptr<Transfer> start_send(ConstView x, int to, int tag, Stream&) override {
    const Timed timed(seconds_);
    count(x.bytes());
    auto transfer = std::make_unique<MpiTransfer>(seconds_);
    each_chunk(x.bytes(), [&](std::int64_t at, int n) {
      MPI_CHECK(MPI_Isend(byte(x.data(), at), n, MPI_BYTE, to, tag, comm_, transfer->add()));
    });
    return transfer;
  }
  std::unique_ptr<Transfer> start_recv(View x, int from, int tag, Stream&) override {
    const Timed timed(seconds_);
    auto transfer = std::make_unique<MpiTransfer>(seconds_);
    each_chunk(x.bytes(), [&](std::int64_t at, int n) {
      MPI_CHECK(MPI_Irecv(byte(x.data(), at), n, MPI_BYTE, from, tag, comm_, transfer->add()));
    });
    return transfer;
  }

 private:
  static std::byte* byte(void* p, std::int64_t at) { return static_cast<std::byte*>(p) + at; }
  static const std::byte* byte(const void* p, std::int64_t at) {
    return static_cast<const std::byte*>(p) + at;
  }
  void count(std::size_t bytes) { bytes_ += static_cast<std::int64_t>(bytes); }

  // each(at, n): pieces of [0, total) of at most kChunk; one empty piece when total is 0, so that
  // collectives stay matched.
  template <class Each>
  static void each_chunk(std::size_t total, Each&& each) {
    const auto end = static_cast<std::int64_t>(total);
    std::int64_t at = 0;
    do {
      const std::int64_t n = std::min(kChunk, end - at);
      each(at, static_cast<int>(n));
      at += n;
    } while (at < end);
  }

  MPI_Comm comm_;
  int rank_ = 0, size_ = 1;
  bool one_host_ = false;
};

bool mpi_running() {
  int started = 0, stopped = 0;
  MPI_Initialized(&started);
  MPI_Finalized(&stopped);
  return started && !stopped;
}

}  // namespace

Mpi::Mpi(int* argc, char*** argv) {
  int provided = 0;
  const int code = MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
  CHECK(code == MPI_SUCCESS, "MPI did not start: {}", mpi_text(code));
  if (provided < MPI_THREAD_FUNNELED)
    log_warning("this MPI was built without thread support; a rank's threads may disturb it");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}

Mpi::~Mpi() {
  if (mpi_running()) MPI_Finalize();
}

std::unique_ptr<Communicator> Mpi::world() const {
  MPI_Comm copy;
  MPI_CHECK(MPI_Comm_dup(MPI_COMM_WORLD, &copy));
  return std::make_unique<MpiCommunicator>(copy);
}

namespace {

std::pair<int, int> place_on_host() {  // rank, ranks
  MPI_Comm host;
  MPI_CHECK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host));
  std::pair<int, int> place;
  MPI_Comm_rank(host, &place.first);
  MPI_Comm_size(host, &place.second);
  MPI_Comm_free(&host);
  return place;
}

}  // namespace

int Mpi::ranks_on_host() const { return place_on_host().second; }
int Mpi::rank_on_host() const { return place_on_host().first; }

std::string Mpi::library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string line(text, strnlen(text, static_cast<std::size_t>(length)));
  line = line.substr(0, line.find('\n'));
  return line.substr(0, line.find_last_not_of(' ') + 1);
}

bool Mpi::active() { return mpi_running(); }

void Mpi::abort(int exit_code) {
  if (mpi_running()) MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

bool Mpi::all_arrive(double timeout_s) {
  if (!mpi_running()) return true;
  MPI_Request request;
  if (MPI_Ibarrier(MPI_COMM_WORLD, &request) != MPI_SUCCESS) return false;
  const double end = now() + timeout_s;
  for (int done = 0; !done;) {
    if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
    if (!done && now() > end) return false;
  }
  return true;
}

const void* native_mpi_comm(const Communicator& communicator) {
  const auto* mpi = dynamic_cast<const MpiCommunicator*>(&communicator);
  return mpi ? mpi->native() : nullptr;
}

}  // namespace weft
