// Collectives over a group of ranks. `self` is one rank, `mpi` moves host memory, `nccl` device
// memory. Views must be contiguous, alike in dtype and elems on every rank. A failed or dead peer
// is an Error, never a hang we cause; a call that does not fit the group (another size, a dtype
// that is not reduced, a tag too large) is an Error on the rank that makes it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/device.h"
#include "core/tensor.h"

namespace weft {

// What is counted of a group's calls, the non-blocking ones among them.
enum class CallKind : std::uint8_t { broadcast, all_reduce, reduce_scatter, all_gather, send };
constexpr int kCallKinds = 5;

enum class ReduceOp : std::uint8_t { sum, max, min };

// A transfer under way. Its buffers must stay untouched until wait() has returned; destroying it
// waits. wait() and test() are this rank's alone; Error where the transfer failed.
class Transfer {
 public:
  virtual ~Transfer() = default;
  virtual void wait() = 0;
  virtual bool test() = 0;  // true when done; makes progress otherwise
};

class Communicator {
 public:
  virtual ~Communicator() = default;  // collective over the group, where MPI still runs

  // Local, and never fail.
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string_view backend() const = 0;  // "self", "mpi", "nccl"
  virtual bool on_one_host() const = 0;          // all its ranks share a host's memory
  // The same ranks' group that carries what lies in host memory: itself, but for devices' groups.
  virtual const Communicator& host_group() const { return *this; }

  // Ranks of one `color` form a new group, ordered by `key`; it may outlive this one. Collective
  // over this group.
  virtual std::unique_ptr<Communicator> split(int color, int key) const = 0;

  // Collective over the group, from here to all_gather: every rank makes the same calls in the
  // same order.
  virtual void barrier() = 0;
  virtual void broadcast(View x, int root, Stream& stream) = 0;
  virtual void all_reduce(View x, ReduceOp op,
                          Stream& stream) = 0;  // fp32, fp64, i32, i64, nccl: bf16; in place
  // out (n) = rank's n-th of the sum over ranks of in (size·n)
  virtual void reduce_scatter(View out, ConstView in, ReduceOp op, Stream& stream) = 0;
  // out (size·n): rank r's in (n) at r·n. With counts (elements a rank) the parts may differ; in
  // has counts[rank].
  virtual void all_gather(View out, ConstView in, Stream& stream) = 0;
  virtual void all_gather(View out, ConstView in, std::span<const std::int64_t> counts,
                          Stream& stream) = 0;
  // Between two ranks, in the order of their sends a tag. send may wait for its recv.
  virtual void send(ConstView x, int to, int tag, Stream& stream) = 0;
  virtual void recv(View x, int from, int tag, Stream& stream) = 0;

  // Non-blocking twins. Collective or between two ranks like their twins: every rank of the group
  // must start its collectives in the same order, blocking ones among them. in may be this rank's
  // part of all_gather's out, and out of reduce_scatter's in; else the two must not overlap.
  virtual std::unique_ptr<Transfer> start_broadcast(View x, int root, Stream& stream) = 0;
  virtual std::unique_ptr<Transfer> start_all_reduce(View x, ReduceOp op, Stream& stream) = 0;
  virtual std::unique_ptr<Transfer> start_reduce_scatter(View out, ConstView in, ReduceOp op,
                                                         Stream& stream) = 0;
  virtual std::unique_ptr<Transfer> start_all_gather(View out, ConstView in, Stream& stream) = 0;
  virtual std::unique_ptr<Transfer> start_all_gather(View out, ConstView in,
                                                     std::span<const std::int64_t> counts,
                                                     Stream& stream) = 0;
  virtual std::unique_ptr<Transfer> start_send(ConstView x, int to, int tag, Stream& stream) = 0;
  virtual std::unique_ptr<Transfer> start_recv(View x, int from, int tag, Stream& stream) = 0;

  // Bytes sent to other ranks since the start (comm/grid_span.h), and seconds this rank spent
  // inside them.
  virtual std::int64_t bytes() const { return bytes_; }
  // Bytes that this rank's calls of a kind were about, since the start: of x, of reduce_scatter's
  // in, of all_gather's out; of a message at its sender. Those of one rank count nothing.
  virtual std::int64_t call_bytes(CallKind kind) const {
    return call_bytes_[static_cast<std::size_t>(kind)];
  }
  virtual double seconds() const { return seconds_; }

  // Host values, for counts and flags. Collective.
  template <class T>
  T all_reduce_value(T value, ReduceOp op, Stream& stream) {
    all_reduce(View(&value, Dims{1}), op, stream);
    return value;
  }

 protected:
  void count_call(CallKind kind, ConstView x) {
    if (size() > 1)
      call_bytes_[static_cast<std::size_t>(kind)] += static_cast<std::int64_t>(x.bytes());
  }
  std::int64_t bytes_ = 0;
  double seconds_ = 0;

 private:
  std::array<std::int64_t, kCallKinds> call_bytes_{};
};

std::unique_ptr<Communicator> make_self_communicator();  // this process alone; local

// The processes of a run. MPI starts (FUNNELED) only where a launcher started this process as one
// of several (comm/launcher.h), and stops with this object, which main or a test's main owns; a
// process alone needs no MPI. Making and ending it are collective over the run. UserError where the
// launcher is of another MPI than the one built in.
class Mpi {
 public:
  Mpi(int* argc, char*** argv);
  ~Mpi();
  Mpi(const Mpi&) = delete;
  Mpi& operator=(const Mpi&) = delete;

  // All of them, a group of its own at each call: its messages meet no other's. Collective over
  // the run; Error where MPI fails. `self` where this process is alone.
  std::unique_ptr<Communicator> world() const;

  // Local: they were asked for when MPI started.
  int rank() const { return place_.rank; }
  int size() const { return place_.size; }
  int rank_on_host() const { return place_.rank_on_host; }
  int ranks_on_host() const { return place_.ranks_on_host; }
  // True when every rank has called this within the time: so ranks that fail alike can end in
  // order, and one that fails alone knows it. Throws nothing: false where a peer is gone.
  bool all_arrive(double timeout_s) const;

  static std::string library_version();  // one line
  static int launched_rank();            // as the launcher says; 0 without one
  // Where ranks may fail for one reason, before this one says so: time for those before it to say
  // it and to end the run.
  static void give_way(int rank);
  [[noreturn]] static void abort(int exit_code);  // ends all ranks; called by one

 private:
  struct Place {
    int rank = 0, size = 1;
    int rank_on_host = 0, ranks_on_host = 1;  // among those that share this host's memory
  };
  struct Started;
  std::unique_ptr<Started> started_;  // null: MPI has not
  Place place_;
};
}  // namespace weft
