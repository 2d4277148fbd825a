// Collectives over device memory by NCCL, beside those of a host group. Every call is enqueued: the
// blocking ones on the caller's stream, the others on streams of the group's own, between events,
// so that they overlap with what the caller's stream is given until it waits.
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "comm/device_communicator.h"
#include "comm/nccl/nccl_group-inl.h"

namespace weft {
namespace {

bool on_device(ConstView x) { return x.device().type == DeviceType::cuda; }

CollectiveCall call(const char* name, ConstView x) { return {name, x.elems(), x.dtype()}; }

// The stream that asked for it waits, not the host.
class StreamTransfer : public Transfer {
 public:
  StreamTransfer(std::shared_ptr<const Event> end, Stream& stream)
      : end_(std::move(end)), stream_(&stream) {}
  ~StreamTransfer() override {
    try {
      wait();
    } catch (const Error&) {  // of what nobody waits for any more
    }
  }
  void wait() override {
    if (end_) end_->wait(*stream_);
    end_.reset();
  }
  bool test() override { return !end_ || end_->has_passed(); }

 private:
  std::shared_ptr<const Event> end_;
  Stream* stream_;
};

class Done : public Transfer {
 public:
  void wait() override {}
  bool test() override { return true; }
};

// A group with a stream of its own.
class Channel {
 public:
  Channel(const std::string& name, const ncclUniqueId& id, int rank, int size, Device device,
          std::shared_ptr<CollectiveWatch> watch)
      : stream_(device), begins_(device), group_(name, id, rank, size, device, std::move(watch)) {}

  // On the group's stream, after what `stream` has been given so far.
  std::unique_ptr<Transfer> start(CollectiveCall what, Stream& stream,
                                  const std::function<void(ncclComm_t, cudaStream_t)>& calls) {
    begins_.record(stream);
    begins_.wait(stream_);
    return std::make_unique<StreamTransfer>(group_.give(what, stream_, calls), stream);
  }
  NcclGroup& group() { return group_; }

 private:
  Stream stream_;
  Event begins_;
  NcclGroup group_;
};

class DeviceCommunicator : public Communicator {
 public:
  DeviceCommunicator(std::unique_ptr<Communicator> host, Device device, const std::string& name,
                     Links links, std::shared_ptr<CollectiveWatch> watch)
      : host_(std::move(host)), device_(device), name_(name), watch_(std::move(watch)) {
    if (size() == 1) return;
    const std::string place = fmt::format("rank {} of {}", rank(), size());
    ncclUniqueId id = {};
    if (rank() == 0) id = NcclGroup::new_id();
    Stream stream;
    host_->broadcast(View(static_cast<void*>(&id), DType::u8, {sizeof id}), 0, stream);
    all_.emplace(fmt::format("the {} group ({})", name, place), id, rank(), size(), device, watch_);
    if (links == Links::ring) join_ring(place, stream);
  }

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  std::string_view backend() const override { return "nccl"; }
  bool on_one_host() const override { return host_->on_one_host(); }
  const Communicator& host_group() const override { return host_->host_group(); }
  std::unique_ptr<Communicator> split(int color, int key) const override {
    return host_->split(color, key);
  }
  std::int64_t bytes() const override { return sent_ + host_->bytes(); }
  std::int64_t call_bytes(CallKind kind) const override {
    return Communicator::call_bytes(kind) + host_->call_bytes(kind);
  }
  double seconds() const override { return host_->seconds(); }
  void barrier() override { host_->barrier(); }

  void broadcast(View x, int root, Stream& stream) override {
    if (!on_device(x)) return host_->broadcast(x, root, stream);
    give_broadcast(x, root, {stream, On::callers});
  }
  void all_reduce(View x, ReduceOp op, Stream& stream) override {
    if (!on_device(x)) return host_->all_reduce(x, op, stream);
    give_all_reduce(x, op, {stream, On::callers});
  }
  void reduce_scatter(View out, ConstView in, ReduceOp op, Stream& stream) override {
    if (!on_device(in)) return host_->reduce_scatter(out, in, op, stream);
    give_reduce_scatter(out, in, op, {stream, On::callers});
  }
  void all_gather(View out, ConstView in, Stream& stream) override {
    if (!on_device(in)) return host_->all_gather(out, in, stream);
    give_all_gather(out, in, {stream, On::callers});
  }
  void all_gather(View out, ConstView in, std::span<const std::int64_t> counts,
                  Stream& stream) override {
    if (!on_device(in)) return host_->all_gather(out, in, counts, stream);
    give_all_gather(out, in, counts, {stream, On::callers});
  }

  void send(ConstView x, int to, int tag, Stream& stream) override {
    if (!on_device(x)) return host_->send(x, to, tag, stream);
    start_send(x, to, tag, stream)->wait();
  }
  void recv(View x, int from, int tag, Stream& stream) override {
    if (!on_device(x)) return host_->recv(x, from, tag, stream);
    start_recv(x, from, tag, stream)->wait();
  }

  std::unique_ptr<Transfer> start_broadcast(View x, int root, Stream& stream) override {
    if (!on_device(x)) return host_->start_broadcast(x, root, stream);
    return give_broadcast(x, root, {stream, On::own});
  }
  std::unique_ptr<Transfer> start_all_reduce(View x, ReduceOp op, Stream& stream) override {
    if (!on_device(x)) return host_->start_all_reduce(x, op, stream);
    return give_all_reduce(x, op, {stream, On::own});
  }
  std::unique_ptr<Transfer> start_reduce_scatter(View out, ConstView in, ReduceOp op,
                                                 Stream& stream) override {
    if (!on_device(in)) return host_->start_reduce_scatter(out, in, op, stream);
    return give_reduce_scatter(out, in, op, {stream, On::own});
  }
  std::unique_ptr<Transfer> start_all_gather(View out, ConstView in, Stream& stream) override {
    if (!on_device(in)) return host_->start_all_gather(out, in, stream);
    return give_all_gather(out, in, {stream, On::own});
  }
  std::unique_ptr<Transfer> start_all_gather(View out, ConstView in,
                                             std::span<const std::int64_t> counts,
                                             Stream& stream) override {
    if (!on_device(in)) return host_->start_all_gather(out, in, counts, stream);
    return give_all_gather(out, in, counts, {stream, On::own});
  }
  std::unique_ptr<Transfer> start_send(ConstView x, int to, int tag, Stream& stream) override {
    if (!on_device(x)) return host_->start_send(x, to, tag, stream);
    count_call(CallKind::send, x);
    if (x.elems() == 0) return std::make_unique<Done>();
    sent_ += static_cast<std::int64_t>(x.bytes());
    return link(rank(), to, tag)
        .start(call("send", x), stream, [&](ncclComm_t comm, cudaStream_t s) {
          NCCL_CHECK(nccl().ncclSend(x.data(), x.bytes(), ncclUint8, 1, comm, s));
        });
  }
  std::unique_ptr<Transfer> start_recv(View x, int from, int tag, Stream& stream) override {
    if (!on_device(x)) return host_->start_recv(x, from, tag, stream);
    if (x.elems() == 0) return std::make_unique<Done>();
    return link(from, rank(), tag)
        .start(call("recv", x), stream, [&](ncclComm_t comm, cudaStream_t s) {
          NCCL_CHECK(nccl().ncclRecv(x.data(), x.bytes(), ncclUint8, 0, comm, s));
        });
  }

 private:
  struct Link {
    int from, to, lane;
    friend auto operator<=>(const Link&, const Link&) = default;
  };

  // Each link is a group of two and a stream of its own, so that no message waits for one of
  // another kind or direction: NCCL keeps a group's calls in order, and ranks that all sent first
  // would wait for one another.
  void join_ring(const std::string& place, Stream& stream) {
    const int n = size(), next = (rank() + 1) % n, before = (rank() + n - 1) % n;
    std::map<Link, ncclUniqueId> ids;
    for (int lane = 0; lane < kLanes; ++lane) {
      for (const int to : {next, before}) ids[{rank(), to, lane}] = NcclGroup::new_id();
      for (const int from : {next, before}) ids[{from, rank(), lane}] = {};
    }
    std::vector<std::unique_ptr<Transfer>> told;
    const auto tag = [](const Link& l) { return l.lane; };
    for (auto& [l, id] : ids) {
      const View bytes(static_cast<void*>(&id), DType::u8, {sizeof id});
      told.push_back(l.from == rank() ? host_->start_send(bytes, l.to, tag(l), stream)
                                      : host_->start_recv(bytes, l.from, tag(l), stream));
    }
    for (const auto& t : told) t->wait();
    // In the same order on all ranks: a rank waits in each for the other one.
    for (const auto& [l, id] : ids)
      links_.try_emplace(
          l, fmt::format("the {} group's messages from {} to {} ({})", name_, l.from, l.to, place),
          id, l.from == rank() ? 0 : 1, 2, device_, watch_);
  }
  Channel& link(int from, int to, int tag) {
    CHECK(tag >= 0, "tag {}; allowed: from 0 on", tag);
    const auto found = links_.find({from, to, tag % kLanes});
    CHECK(found != links_.end(), "the {} group has no link between the devices of rank {} and {}",
          name_, from, to);
    return found->second;
  }

  // Where a collective goes: on the stream of its caller, or on the group's own beside it.
  enum class On : std::uint8_t { callers, own };
  struct Asked {
    Stream& stream;
    On on;
  };
  using Calls = std::function<void(ncclComm_t, cudaStream_t)>;

  std::unique_ptr<Transfer> give(CollectiveCall what, Asked asked, const Calls& calls) {
    if (asked.on == On::own) return all_->start(what, asked.stream, calls);
    all_->group().give(what, asked.stream, calls);
    return std::make_unique<Done>();
  }

  std::unique_ptr<Transfer> give_broadcast(View x, int root, Asked asked) {
    count_call(CallKind::broadcast, x);
    if (is_nothing(x)) return std::make_unique<Done>();
    if (rank() == root) sent_ += (size() - 1) * static_cast<std::int64_t>(x.bytes());
    return give(call("broadcast", x), asked, [&](ncclComm_t comm, cudaStream_t s) {
      NCCL_CHECK(nccl().ncclBroadcast(x.data(), x.data(), x.bytes(), ncclUint8, root, comm, s));
    });
  }

  std::unique_ptr<Transfer> give_all_reduce(View x, ReduceOp op, Asked asked) {
    count_call(CallKind::all_reduce, x);
    const ncclDataType_t type = nccl_type(x.dtype());
    if (is_nothing(x)) return std::make_unique<Done>();
    count_ring(2 * x.bytes());
    return give(call("all_reduce", x), asked, [&](ncclComm_t comm, cudaStream_t s) {
      NCCL_CHECK(nccl().ncclAllReduce(x.data(), x.data(), count(x), type, nccl_op(op), comm, s));
    });
  }

  std::unique_ptr<Transfer> give_reduce_scatter(View out, ConstView in, ReduceOp op, Asked asked) {
    CHECK(out.elems() * size() == in.elems() && out.dtype() == in.dtype(),
          "reduce_scatter: {} into {} on {} ranks", in.shape().str(), out.shape().str(), size());
    const ncclDataType_t type = nccl_type(in.dtype());
    count_call(CallKind::reduce_scatter, in);
    if (size() == 1) return copy_own(out, in, asked.stream);
    if (is_nothing(in)) return std::make_unique<Done>();
    count_ring(in.bytes());
    return give(call("reduce_scatter", in), asked, [&](ncclComm_t comm, cudaStream_t s) {
      NCCL_CHECK(
          nccl().ncclReduceScatter(in.data(), out.data(), count(out), type, nccl_op(op), comm, s));
    });
  }

  std::unique_ptr<Transfer> give_all_gather(View out, ConstView in, Asked asked) {
    CHECK(out.elems() == in.elems() * size() && out.dtype() == in.dtype(),
          "all_gather: {} of each of {} ranks into {}", in.shape().str(), size(),
          out.shape().str());
    count_call(CallKind::all_gather, out);
    if (size() == 1) return copy_own(out, in, asked.stream);
    if (is_nothing(in)) return std::make_unique<Done>();
    sent_ += (size() - 1) * static_cast<std::int64_t>(in.bytes());
    return give(call("all_gather", in), asked, [&](ncclComm_t comm, cudaStream_t s) {
      NCCL_CHECK(nccl().ncclAllGather(in.data(), out.data(), in.bytes(), ncclUint8, comm, s));
    });
  }

  // Of parts that differ, a broadcast from each rank, as one call.
  std::unique_ptr<Transfer> give_all_gather(View out, ConstView in,
                                            std::span<const std::int64_t> counts, Asked asked) {
    CHECK(static_cast<int>(counts.size()) == size() &&
              counts[static_cast<std::size_t>(rank())] == in.elems() && out.dtype() == in.dtype(),
          "all_gather: counts do not fit {} ranks or {} elements", size(), in.elems());
    std::int64_t total = 0;
    for (const std::int64_t n : counts) total += n;
    CHECK(total == out.elems(), "all_gather: {} elements into {}", total, out.elems());
    if (std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end())
      return give_all_gather(out, in, asked);
    count_call(CallKind::all_gather, out);
    sent_ += (size() - 1) * static_cast<std::int64_t>(in.bytes());
    const std::size_t width = dtype_bytes(in.dtype());
    return give(call("all_gather", out), asked, [&](ncclComm_t comm, cudaStream_t s) {
      auto* to = static_cast<std::byte*>(out.data());
      for (int root = 0; root < size(); ++root) {
        const std::size_t bytes =
            static_cast<std::size_t>(counts[static_cast<std::size_t>(root)]) * width;
        if (bytes > 0)
          NCCL_CHECK(nccl().ncclBroadcast(root == rank() ? in.data() : to, to, bytes, ncclUint8,
                                          root, comm, s));
        to += bytes;
      }
    });
  }

  static std::size_t count(ConstView x) { return static_cast<std::size_t>(x.elems()); }
  bool is_nothing(ConstView x) const { return size() == 1 || x.elems() == 0; }
  // A group of one's.
  static std::unique_ptr<Transfer> copy_own(View out, ConstView in, Stream& stream) {
    if (out.data() != in.data()) copy_bytes(out.data(), in.data(), in.bytes(), stream);
    return std::make_unique<Done>();
  }
  // This rank's share of what a ring sends that takes so many bytes around.
  void count_ring(std::size_t bytes) {
    const std::int64_t all = (size() - 1) * static_cast<std::int64_t>(bytes);
    sent_ += all / size() + (rank() < all % size() ? 1 : 0);
  }
  std::unique_ptr<Communicator> host_;
  Device device_;
  std::string name_;
  std::shared_ptr<CollectiveWatch> watch_;
  std::int64_t sent_ = 0;
  std::optional<Channel> all_;  // none of one rank
  std::map<Link, Channel> links_;
};

}  // namespace

std::unique_ptr<Communicator> make_device_communicator(std::unique_ptr<Communicator> host,
                                                       Device device, const std::string& name,
                                                       Links links,
                                                       std::shared_ptr<CollectiveWatch> watch) {
  return std::make_unique<DeviceCommunicator>(std::move(host), device, name, links,
                                              std::move(watch));
}

}  // namespace weft
