#include <cstring>
#include <deque>
#include <vector>

#include "comm/communicator.h"
#include "core/check.h"

namespace weft {
namespace {

class Done : public Transfer {
 public:
  void wait() override {}
  bool test() override { return true; }
};

// One rank. Sends to itself are queued until received.
class SelfCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string_view backend() const override { return "self"; }
  bool on_one_host() const override { return true; }
  std::unique_ptr<Communicator> split(int, int) const override { return make_self_communicator(); }

  void barrier() override {}
  void broadcast(View, int root, Stream&) override { check_peer(root, "broadcast"); }
  void all_reduce(View, ReduceOp, Stream&) override {}
  void reduce_scatter(View out, ConstView in, ReduceOp, Stream&) override {
    copy(out, in, "reduce_scatter");
  }
  void all_gather(View out, ConstView in, Stream&) override { copy(out, in, "all_gather"); }
  void all_gather(View out, ConstView in, std::span<const std::int64_t> counts, Stream&) override {
    CHECK(counts.size() == 1 && counts[0] == in.elems(), "all_gather: counts do not fit one rank");
    copy(out, in, "all_gather");
  }
  void send(ConstView x, int to, int tag, Stream&) override {
    check_peer(to, "send");
    const auto* bytes = static_cast<const std::byte*>(x.data());
    queue_.push_back({tag, std::vector<std::byte>(bytes, bytes + x.bytes())});
  }
  void recv(View x, int from, int tag, Stream&) override {
    check_peer(from, "recv");
    for (auto message = queue_.begin(); message != queue_.end(); ++message) {
      if (message->first != tag) continue;
      CHECK(message->second.size() == x.bytes(), "recv: {} bytes were sent, {} expected",
            message->second.size(), x.bytes());
      if (x.bytes()) std::memcpy(x.data(), message->second.data(), x.bytes());
      queue_.erase(message);
      return;
    }
    CHECK(false, "recv: a single rank waits for a message with tag {} that it has not sent", tag);
  }
  std::unique_ptr<Transfer> start_broadcast(View x, int root, Stream& stream) override {
    broadcast(x, root, stream);
    return std::make_unique<Done>();
  }
  std::unique_ptr<Transfer> start_all_reduce(View, ReduceOp, Stream&) override {
    return std::make_unique<Done>();
  }
  std::unique_ptr<Transfer> start_reduce_scatter(View out, ConstView in, ReduceOp op,
                                                 Stream& stream) override {
    reduce_scatter(out, in, op, stream);
    return std::make_unique<Done>();
  }
  std::unique_ptr<Transfer> start_all_gather(View out, ConstView in, Stream& stream) override {
    all_gather(out, in, stream);
    return std::make_unique<Done>();
  }
  std::unique_ptr<Transfer> start_all_gather(View out, ConstView in,
                                             std::span<const std::int64_t> counts,
                                             Stream& stream) override {
    all_gather(out, in, counts, stream);
    return std::make_unique<Done>();
  }
  std::unique_ptr<Transfer> start_send(ConstView x, int to, int tag, Stream& stream) override {
    send(x, to, tag, stream);
    return std::make_unique<Done>();
  }
  std::unique_ptr<Transfer> start_recv(View x, int from, int tag, Stream& stream) override {
    recv(x, from, tag, stream);
    return std::make_unique<Done>();
  }

 private:
  static void check_peer(int rank, const char* op) {
    CHECK(rank == 0, "{}: no rank {} in a group of one", op, rank);
  }
  static void copy(View out, ConstView in, const char* op) {
    CHECK(out.bytes() == in.bytes(), "{}: {} into {}", op, in.shape().str(), out.shape().str());
    if (in.bytes() && out.data() != in.data()) std::memmove(out.data(), in.data(), in.bytes());
  }
  std::deque<std::pair<int, std::vector<std::byte>>> queue_;
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator() {
  return std::make_unique<SelfCommunicator>();
}

}  // namespace weft
