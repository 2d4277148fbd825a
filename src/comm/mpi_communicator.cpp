// Collectives over host memory by MPI 3. Operations of more than kChunk elements are cut, since MPI
// counts are ints. No call here blocks inside MPI, which would spin: all are started, then waited
// for with Patience. Reductions and gathers are our own, of sends and receives: the non-blocking
// collectives of MPI are slower than its blocking ones (Open MPI 4.1, two ranks, 1 KiB: 2.3 against
// 1.3 us; 16 MiB: 17 against 7 ms).
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "comm/mpi_communicator.h"
#include "comm/mpi_requests-inl.h"
#include "comm/shard.h"
#include "core/check.h"

namespace weft {
namespace {

constexpr std::int64_t kChunk = std::int64_t{1} << 28;  // elements; 2 GiB of fp64

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

class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, std::shared_ptr<Patience> patience)
      : comm_(comm), patience_(std::move(patience)) {
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
  MPI_Comm native() const { return comm_; }

  std::unique_ptr<Communicator> split(int color, int key) const override {
    meet();  // MPI_Comm_split spins until all are there
    MPI_Comm part;
    MPI_CHECK(MPI_Comm_split(comm_, color, key, &part));
    return std::make_unique<MpiCommunicator>(part, patience_);
  }

  void barrier() override {
    const Timed timed(seconds_);
    meet();
  }

  void broadcast(View x, int root, Stream& stream) override {
    start_broadcast(x, root, stream)->wait();
  }

  void all_reduce(View x, ReduceOp op, Stream&) override {
    expect_host(x, "all_reduce");
    count_call(CallKind::all_reduce, x);
    const Timed timed(seconds_);
    const Reduction how(x.dtype(), op);
    if (size_ == 1 || x.elems() == 0) return;
    // A ring of many ranks is many messages: it pays for larger values only.
    const std::size_t small = kSmallBytes * static_cast<std::size_t>(std::max(1, size_ / 4));
    if (x.bytes() <= small) return reduce_by_doubling(byte(x.data(), 0), x.elems(), how);
    const auto part = [&](int index) { return part_of(x.data(), x.elems(), how.width, index); };
    reduce_along_ring(part, how);
    gather_along_ring(part(rank_), part);
  }

  void reduce_scatter(View out, ConstView in, ReduceOp op, Stream&) override {
    expect_parts(out, in);
    const Timed timed(seconds_);
    const Reduction how(in.dtype(), op);
    scattered_.resize(in.bytes());
    if (in.bytes()) std::memcpy(scattered_.data(), in.data(), in.bytes());
    const auto part = [&](int index) {
      return part_of(scattered_.data(), in.elems(), how.width, index);
    };
    reduce_along_ring(part, how);
    if (out.bytes()) std::memcpy(out.data(), part(rank_).data(), out.bytes());
  }

  void all_gather(View out, ConstView in, Stream& stream) override {
    all_gather(out, in, equal_counts(out, in), stream);
  }

  void all_gather(View out, ConstView in, std::span<const std::int64_t> counts,
                  Stream& stream) override {
    if (out.bytes() <= kSmallBytes) return start_all_gather(out, in, counts, stream)->wait();
    const std::vector<Bytes> parts = gathered_parts(out, in, counts);
    const Timed timed(seconds_);
    gather_along_ring(std::span(byte(in.data(), 0), in.bytes()),
                      [&](int index) { return parts[static_cast<std::size_t>(index)]; });
    put_own(in, parts);
  }

  void send(ConstView x, int to, int tag, Stream& stream) override {
    start_send(x, to, tag, stream)->wait();
  }
  void recv(View x, int from, int tag, Stream& stream) override {
    start_recv(x, from, tag, stream)->wait();
  }

  std::unique_ptr<Transfer> start_broadcast(View x, int root, Stream&) override {
    expect_host(x, "broadcast");
    count_call(CallKind::broadcast, x);
    const Timed timed(seconds_);
    if (rank_ == root) bytes_ += (size_ - 1) * static_cast<std::int64_t>(x.bytes());
    auto transfer = std::make_unique<MpiTransfer>(seconds_, patience_);
    each_chunk(x.bytes(), [&](std::int64_t at, int n) {
      MPI_CHECK(MPI_Ibcast(byte(x.data(), at), n, MPI_BYTE, root, comm_, transfer->requests.add()));
    });
    return transfer;
  }
  std::unique_ptr<Transfer> start_all_reduce(View x, ReduceOp op, Stream&) override {
    expect_host(x, "start_all_reduce");
    count_call(CallKind::all_reduce, x);
    const Timed timed(seconds_);
    count_ring(x.bytes());
    auto transfer = std::make_unique<MpiTransfer>(seconds_, patience_);
    const Reduction how(x.dtype(), op);
    each_chunk(static_cast<std::size_t>(x.elems()), [&](std::int64_t at, int n) {
      MPI_CHECK(MPI_Iallreduce(MPI_IN_PLACE,
                               byte(x.data(), at * static_cast<std::int64_t>(how.width)), n,
                               how.type, how.op, comm_, transfer->requests.add()));
    });
    return transfer;
  }
  // A part's sum to each rank: MPI_Ireduce_scatter_block cannot be cut into chunks.
  std::unique_ptr<Transfer> start_reduce_scatter(View out, ConstView in, ReduceOp op,
                                                 Stream&) override {
    expect_parts(out, in);
    const Timed timed(seconds_);
    bytes_ += (size_ - 1) * static_cast<std::int64_t>(out.bytes());
    auto transfer = std::make_unique<MpiTransfer>(seconds_, patience_);
    const Reduction how(in.dtype(), op);
    if (out.elems() == 0) return transfer;
    for (int root = 0; root < size_; ++root)
      each_chunk(static_cast<std::size_t>(out.elems()), [&](std::int64_t at, int n) {
        const auto width = static_cast<std::int64_t>(how.width);
        const void* mine = byte(in.data(), (root * out.elems() + at) * width);
        void* sum = byte(out.data(), at * width);
        if (rank_ == root && mine == sum) mine = MPI_IN_PLACE;
        MPI_CHECK(
            MPI_Ireduce(mine, sum, n, how.type, how.op, root, comm_, transfer->requests.add()));
      });
    return transfer;
  }
  std::unique_ptr<Transfer> start_all_gather(View out, ConstView in, Stream& stream) override {
    return start_all_gather(out, in, equal_counts(out, in), stream);
  }
  // Every rank's to every other one at once.
  std::unique_ptr<Transfer> start_all_gather(View out, ConstView in,
                                             std::span<const std::int64_t> counts,
                                             Stream&) override {
    const std::vector<Bytes> parts = gathered_parts(out, in, counts);
    const Timed timed(seconds_);
    auto transfer = std::make_unique<MpiTransfer>(seconds_, patience_);
    const std::span own(byte(in.data(), 0), in.bytes());
    for (int step = 1; step < size_; ++step) {
      const int from = (rank_ + size_ - step) % size_;
      start_recv(parts[static_cast<std::size_t>(from)], from, kTag, transfer->requests);
      start_send(own, (rank_ + step) % size_, kTag, transfer->requests);
    }
    put_own(in, parts);
    return transfer;
  }
  std::unique_ptr<Transfer> start_send(ConstView x, int to, int tag, Stream&) override {
    expect_host(x, "start_send");
    count_call(CallKind::send, x);
    const Timed timed(seconds_);
    auto transfer = std::make_unique<MpiTransfer>(seconds_, patience_);
    start_send(std::span(byte(x.data(), 0), x.bytes()), to, checked(tag), transfer->requests);
    return transfer;
  }
  std::unique_ptr<Transfer> start_recv(View x, int from, int tag, Stream&) override {
    expect_host(x, "start_recv");
    const Timed timed(seconds_);
    auto transfer = std::make_unique<MpiTransfer>(seconds_, patience_);
    start_recv(Bytes(byte(x.data(), 0), x.bytes()), from, checked(tag), transfer->requests);
    return transfer;
  }

 private:
  static constexpr int kTag = 32767;                                // of our collectives' messages
  static constexpr std::size_t kSmallBytes = std::size_t{1} << 14;  // messages count, not bytes
  static constexpr std::size_t kPieceBytes = std::size_t{1} << 23;  // bounds what is held of them
  using Bytes = std::span<std::byte>;

  struct Reduction {
    Reduction(DType dtype, ReduceOp reduce)
        : type(reducible(dtype)), op(mpi_op(reduce)), width(dtype_bytes(dtype)) {}
    MPI_Datatype type;
    MPI_Op op;
    std::size_t width;  // bytes of an element
    // into = values op into
    void fold(const std::byte* values, Bytes into) const {
      MPI_CHECK(
          MPI_Reduce_local(values, into.data(), static_cast<int>(into.size() / width), type, op));
    }
  };

  // What a GPU holds goes by NCCL: an MPI that takes it too can deadlock beside that.
  static void expect_host(ConstView x, const char* call) {
    CHECK(x.device().type == DeviceType::cpu, "{} by MPI of {} in a GPU's memory", call,
          x.shape().str());
  }
  static std::byte* byte(void* p, std::int64_t at) { return static_cast<std::byte*>(p) + at; }
  static const std::byte* byte(const void* p, std::int64_t at) {
    return static_cast<const std::byte*>(p) + at;
  }
  // What reduce_scatter was given, checked and counted.
  void expect_parts(View out, ConstView in) {
    expect_host(in, "reduce_scatter");
    count_call(CallKind::reduce_scatter, in);
    CHECK(out.elems() * size_ == in.elems() && out.dtype() == in.dtype(),
          "reduce_scatter: {} into {} on {} ranks", in.shape().str(), out.shape().str(), size_);
  }
  // What all_gather was given, likewise: each rank's part of out.
  std::vector<Bytes> gathered_parts(View out, ConstView in, std::span<const std::int64_t> counts) {
    expect_host(in, "all_gather");
    count_call(CallKind::all_gather, out);
    CHECK(static_cast<int>(counts.size()) == size_ &&
              counts[static_cast<std::size_t>(rank_)] == in.elems(),
          "all_gather: counts do not fit {} ranks or {} elements", size_, in.elems());
    std::vector<Bytes> parts;
    std::size_t total = 0;
    for (const std::int64_t n : counts) {
      const std::size_t bytes = static_cast<std::size_t>(n) * dtype_bytes(in.dtype());
      parts.emplace_back(byte(out.data(), 0) + total, bytes);
      total += bytes;
    }
    CHECK(total == out.bytes(), "all_gather: {} bytes into {}", total, out.bytes());
    return parts;
  }
  std::vector<std::int64_t> equal_counts(View out, ConstView in) const {
    CHECK(out.elems() == in.elems() * size_ && out.dtype() == in.dtype(),
          "all_gather: {} of each of {} ranks into {}", in.shape().str(), size_, out.shape().str());
    return std::vector(static_cast<std::size_t>(size_), in.elems());
  }
  void put_own(ConstView in, const std::vector<Bytes>& parts) const {
    const Bytes place = parts[static_cast<std::size_t>(rank_)];
    if (in.bytes() && place.data() != in.data()) std::memmove(place.data(), in.data(), in.bytes());
  }
  static int checked(int tag) {
    CHECK(0 <= tag && tag < kTag, "tag {}; allowed: 0 to {}", tag, kTag - 1);
    return tag;
  }
  // This rank's share of what a ring sends to reduce so many bytes on all ranks.
  void count_ring(std::size_t bytes) {
    const std::int64_t all = 2 * (size_ - 1) * static_cast<std::int64_t>(bytes);
    bytes_ += all / size_ + (rank_ < all % size_ ? 1 : 0);
  }
  int right() const { return (rank_ + 1) % size_; }
  int left() const { return (rank_ + size_ - 1) % size_; }
  void meet() const {
    Requests requests(patience_);
    MPI_CHECK(MPI_Ibarrier(comm_, requests.add()));
    requests.wait();
  }

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

  void start_send(std::span<const std::byte> x, int to, int tag, Requests& requests) {
    if (to != rank_) bytes_ += static_cast<std::int64_t>(x.size());
    each_chunk(x.size(), [&](std::int64_t at, int n) {
      MPI_CHECK(MPI_Isend(x.data() + at, n, MPI_BYTE, to, tag, comm_, requests.add()));
    });
  }
  void start_recv(Bytes x, int from, int tag, Requests& requests) const {
    each_chunk(x.size(), [&](std::int64_t at, int n) {
      MPI_CHECK(MPI_Irecv(x.data() + at, n, MPI_BYTE, from, tag, comm_, requests.add()));
    });
  }

  // Part `index` of elems elements that are cut among the ranks.
  Bytes part_of(void* data, std::int64_t elems, std::size_t width, int index) const {
    const Range range = split_range(elems, size_, index);
    return {byte(data, range.begin * static_cast<std::int64_t>(width)),
            static_cast<std::size_t>(range.size()) * width};
  }

  // The sum of all ranks by pairs that exchange what they have, at distances 1, 2, 4, …; ranks
  // beyond a power of two lend theirs to a neighbour. Both of a pair compute lower op upper, so
  // that all ranks hold the same bits.
  void reduce_by_doubling(std::byte* x, std::int64_t elems, const Reduction& how) {
    const Bytes values(x, static_cast<std::size_t>(elems) * how.width);
    const int pairs = std::bit_floor(static_cast<unsigned>(size_)), extra = size_ - pairs;
    const bool lends = rank_ < 2 * extra && rank_ % 2 == 0,
               borrows = rank_ < 2 * extra && rank_ % 2 == 1;
    if (lends) {
      exchange(values, {}, rank_ + 1);
      exchange({}, values, rank_ + 1);
      return;
    }
    received_.resize(std::max(received_.size(), values.size()));
    const Bytes received(received_.data(), values.size());
    if (borrows) {
      exchange({}, received, rank_ - 1);
      how.fold(received.data(), values);
    }
    const int place = borrows ? rank_ / 2 : rank_ - extra;
    for (int distance = 1; distance < pairs; distance *= 2) {
      const int at = place ^ distance, other = at < extra ? 2 * at + 1 : at + extra;
      exchange(values, received, other);
      if (other < rank_) {
        how.fold(received.data(), values);
      } else {
        how.fold(values.data(), received);
        std::ranges::copy(received, values.begin());
      }
    }
    if (borrows) exchange(values, {}, rank_ - 1);
  }

  // Sends and receives, where they are not empty.
  void exchange(std::span<const std::byte> out, Bytes in, int other) {
    Requests requests(patience_);
    if (!in.empty()) start_recv(in, other, kTag, requests);
    if (!out.empty()) start_send(out, other, kTag, requests);
    requests.wait();
  }

  // part(i): the bytes of part i of size_ parts, which all ranks hold. Afterwards this rank's own
  // part holds the sum of all ranks'; the others are spoilt.
  template <class Part>
  void reduce_along_ring(const Part& part, const Reduction& how) {
    for (int step = 0; step < size_ - 1; ++step)
      pass_and_fold(part((rank_ - 1 - step + 2 * size_) % size_),
                    part((rank_ - 2 - step + 2 * size_) % size_), how);
  }

  // Afterwards all ranks hold all parts but their own, which they bring. (It is sent from where it
  // is: lines that another core has just written cost more than the copy saves.)
  template <class Part>
  void gather_along_ring(std::span<const std::byte> own, const Part& part) {
    for (int step = 0; step < size_ - 1; ++step) {
      const std::span<const std::byte> held =
          step == 0 ? own : part((rank_ - step + size_) % size_);
      Requests requests(patience_);
      start_recv(part((rank_ - 1 - step + size_) % size_), left(), kTag, requests);
      start_send(held, right(), kTag, requests);
      requests.wait();
    }
  }

  // `out` to the right; what comes from the left is folded into `in`, a piece while the next one
  // arrives.
  void pass_and_fold(Bytes out, Bytes in, const Reduction& how) {
    const auto piece = [](Bytes x, std::size_t i) {
      const std::size_t at = std::min(x.size(), i * kPieceBytes);
      return x.subspan(at, std::min(kPieceBytes, x.size() - at));
    };
    const auto n_pieces = [](Bytes x) { return (x.size() + kPieceBytes - 1) / kPieceBytes; };
    const std::size_t room = std::min(in.size(), 2 * kPieceBytes);
    received_.resize(std::max(received_.size(), room));
    Requests sends(patience_), even(patience_), odd(patience_);
    const auto arrivals = [&](std::size_t i) -> Requests& { return i % 2 == 0 ? even : odd; };
    const auto arrived = [&](std::size_t i) {
      return Bytes(received_).subspan(i % 2 * kPieceBytes, piece(in, i).size());
    };
    if (n_pieces(in) > 0) start_recv(arrived(0), left(), kTag, arrivals(0));
    for (std::size_t i = 0; i < n_pieces(out); ++i) start_send(piece(out, i), right(), kTag, sends);
    for (std::size_t i = 0; i < n_pieces(in); ++i) {
      if (i + 1 < n_pieces(in)) start_recv(arrived(i + 1), left(), kTag, arrivals(i + 1));
      arrivals(i).wait();
      how.fold(arrived(i).data(), piece(in, i));
    }
    sends.wait();
  }

  MPI_Comm comm_;
  std::shared_ptr<Patience> patience_;
  int rank_ = 0, size_ = 1;
  bool one_host_ = false;
  std::vector<std::byte> received_, scattered_;
};

}  // namespace

std::string mpi_text(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return std::string(text, static_cast<std::size_t>(length));
}

std::unique_ptr<Communicator> make_mpi_communicator(MPI_Comm comm,
                                                    std::shared_ptr<Patience> patience) {
  return std::make_unique<MpiCommunicator>(comm, std::move(patience));
}

std::optional<MPI_Comm> mpi_comm_of(const Communicator& communicator) {
  const auto* mpi = dynamic_cast<const MpiCommunicator*>(&communicator.host_group());
  return mpi ? std::optional(mpi->native()) : std::nullopt;
}

}  // namespace weft
