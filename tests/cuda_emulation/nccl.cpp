// NCCL, emulated: the ranks are processes of this host, a call is a piece of its stream's work that
// runs when all ranks have come to theirs, and what NCCL would take silently (ranks that make
// different calls) is a fault. Sums are made in rank order and rounded to their type after each
// addition.
#include <cuda_runtime.h>
#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "executor.h"
#include "nccl_board.h"
#include "streams.h"

using namespace weft::emulation;

struct ncclComm {
  std::unique_ptr<NcclBoard> board;
  int rank = 0, size = 1, device = 0;
  std::uint64_t calls = 0;                    // given
  std::vector<std::uint64_t> sent, received;  // messages given, by the other rank
  int under_way = 0;                          // pieces of work
  bool aborted = false, is_finalized = false;
  ncclResult_t error = ncclSuccess;
  std::string error_text;
};

namespace {

using Comm = std::shared_ptr<ncclComm>;

std::map<ncclComm_t, Comm>& comms() {
  static std::map<ncclComm_t, Comm> all;
  return all;
}

// An emulated GPU's work runs when its process waits for it; where the process waits for other
// ranks instead, which wait for that work, it goes on by itself.
class Goes {
 public:
  Goes() : thread_([this] { run(); }) {}
  ~Goes() {
    ends_ = true;
    thread_.join();
  }

 private:
  void run() {
    std::uint64_t seen = 0;
    while (!ends_) {
      std::this_thread::sleep_for(std::chrono::microseconds(300));
      const Turn turn(Turn::Kind::look);
      const bool idle = runtime().turns == seen;
      seen = runtime().turns;
      if (idle) run_everything();
    }
  }
  std::atomic<bool> ends_ = false;
  std::thread thread_;
};
std::unique_ptr<Goes>& goes() {
  static std::unique_ptr<Goes> one;
  return one;
}

std::size_t width_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclFloat64:
    case ncclInt64:
    case ncclUint64:
      return 8;
    default:
      return 4;
  }
}

struct Bf16 {
  std::uint16_t bits;
  operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
  static Bf16 of(float x) {
    const auto b = std::bit_cast<std::uint32_t>(x);
    if (x != x) return {static_cast<std::uint16_t>(b >> 16 | 0x40)};
    return {static_cast<std::uint16_t>((b + 0x7FFF + (b >> 16 & 1)) >> 16)};
  }
};
template <class T, class V>
T rounded(V x) {
  if constexpr (std::is_same_v<T, Bf16>)
    return Bf16::of(x);
  else
    return static_cast<T>(x);
}

template <class T>
void fold(std::byte* into, const std::byte* values, std::size_t n, ncclRedOp_t op) {
  for (std::size_t i = 0; i < n; ++i) {
    T a, b;
    std::memcpy(&a, into + i * sizeof(T), sizeof(T));
    std::memcpy(&b, values + i * sizeof(T), sizeof(T));
    const T sum = op == ncclSum   ? rounded<T>(a + b)
                  : op == ncclMax ? (b > a ? b : a)
                                  : (b < a ? b : a);
    std::memcpy(into + i * sizeof(T), &sum, sizeof(T));
  }
}

void fold(std::byte* into, const std::byte* values, std::size_t n, ncclDataType_t type,
          ncclRedOp_t op) {
  switch (type) {
    case ncclFloat32:
      return fold<float>(into, values, n, op);
    case ncclFloat64:
      return fold<double>(into, values, n, op);
    case ncclBfloat16:
      return fold<Bf16>(into, values, n, op);
    case ncclInt32:
      return fold<std::int32_t>(into, values, n, op);
    case ncclInt64:
      return fold<std::int64_t>(into, values, n, op);
    default:
      throw Fault("emulated NCCL: a reduction of a type that Weft does not reduce");
  }
}

enum class Kind : std::uint8_t { all_reduce, reduce_scatter, all_gather, broadcast, send, recv };
constexpr const char* kNames[] = {"all_reduce", "reduce_scatter", "all_gather",
                                  "broadcast",  "send",           "recv"};

struct Call {
  Kind kind;
  Comm comm;
  const void* in;
  void* out;
  std::size_t count;  // as NCCL's, of the type
  ncclDataType_t type;
  ncclRedOp_t op;
  int other;  // the root, or the other rank of a message
  cudaStream_t stream;
  std::uint64_t number = 0;  // in the group, or of the messages to or from the other
  bool shown = false;

  std::size_t bytes() const { return count * width_of(type); }
  std::size_t in_bytes() const {
    const std::size_t n = kind == Kind::reduce_scatter ? static_cast<std::size_t>(comm->size) : 1;
    const bool none = kind == Kind::recv || (kind == Kind::broadcast && comm->rank != other);
    return none ? 0 : n * bytes();
  }
  std::size_t out_bytes() const {
    const std::size_t n = kind == Kind::all_gather ? static_cast<std::size_t>(comm->size) : 1;
    return kind == Kind::send ? 0 : n * bytes();
  }
  bool is_message() const { return kind >= Kind::send; }
};

std::string told(const NcclCall& c) {
  return fmt::format("{} of {} bytes (type {}, op {}, root {})", c.name, c.bytes, c.dtype, c.op,
                     c.root);
}

void expect_alike(const Call& call, const NcclCall& mine) {
  const ncclComm& comm = *call.comm;
  for (int r = 0; r < comm.size; ++r) {
    const NcclCall& theirs = comm.board->shown(r);
    if (std::strcmp(theirs.name, mine.name) == 0 && theirs.dtype == mine.dtype &&
        theirs.op == mine.op && theirs.root == mine.root && theirs.bytes == mine.bytes)
      continue;
    throw Fault(
        fmt::format("call {} of an NCCL group of {}: rank {} makes {} where rank {} makes {}",
                    call.number, comm.size, comm.rank, told(mine), r, told(theirs)));
  }
}

void complete(const Call& call) {
  const ncclComm& comm = *call.comm;
  const NcclBoard& board = *comm.board;
  auto* out = static_cast<std::byte*>(call.out);
  if (call.kind == Kind::broadcast) return board.read(call.other, out, call.bytes());
  if (call.kind == Kind::all_gather) {
    for (int r = 0; r < comm.size; ++r)
      board.read(r, out + static_cast<std::size_t>(r) * call.bytes(), call.bytes());
    return;
  }
  const std::size_t at =
      call.kind == Kind::reduce_scatter ? static_cast<std::size_t>(comm.rank) * call.bytes() : 0;
  std::vector<std::byte> sum(call.bytes()), next(call.bytes());
  board.read(0, sum.data(), sum.size(), at);
  for (int r = 1; r < comm.size; ++r) {
    board.read(r, next.data(), next.size(), at);
    fold(sum.data(), next.data(), call.count, call.type, call.op);
  }
  std::memcpy(out, sum.data(), sum.size());
}

bool send(Call& call) {
  NcclBoard& board = *call.comm->board;
  if (!call.shown) {
    if (!board.is_received(call.other, call.number - 1)) return false;
    board.send(call.other, call.number, call.in, call.bytes());
    call.shown = true;
  }
  return board.is_received(call.other, call.number);
}

bool receive(const Call& call) {
  NcclBoard& board = *call.comm->board;
  if (!board.is_sent(call.other, call.number)) return false;
  if (board.sent_bytes(call.other) != call.bytes())
    throw Fault(fmt::format(
        "message {} of rank {} of an NCCL group to rank {}: {} bytes are sent, "
        "{} received",
        call.number, call.other, call.comm->rank, board.sent_bytes(call.other), call.bytes()));
  board.receive(call.other, call.number, call.out, call.bytes());
  return true;
}

// Whether the call has come to its end.
bool goes_on(Call& call) {
  ncclComm& comm = *call.comm;
  if (comm.aborted) return true;
  if (comm.error != ncclSuccess) return false;
  NcclBoard& board = *comm.board;
  if (!board.is_complete()) return false;
  if (const int lost = board.lost_rank(); lost >= 0) {
    comm.error = ncclRemoteError;
    comm.error_text = fmt::format("rank {}'s process is gone", lost);
    return false;
  }
  if (call.kind == Kind::send) return send(call);
  if (call.kind == Kind::recv) return receive(call);
  NcclCall mine;
  std::strcpy(mine.name, kNames[static_cast<int>(call.kind)]);
  mine.dtype = call.type, mine.op = call.op, mine.bytes = call.bytes();
  mine.root = call.kind == Kind::broadcast ? call.other : -1;
  if (!call.shown) {
    if (!board.all_have_read(call.number - 1)) return false;
    board.show(call.number, mine, call.in, call.in_bytes());
    call.shown = true;
  }
  if (!board.all_have_shown(call.number)) return false;
  expect_alike(call, mine);
  complete(call);
  board.have_read(call.number);
  return true;
}

// Calls of a group (ncclGroupStart), of one stream: those of one communicator one after another,
// messages each by itself.
struct Batch {
  std::vector<Call> calls;
  std::vector<bool> ended;

  bool poll() {
    std::set<const ncclComm*> busy;
    bool all = true;
    for (std::size_t i = 0; i < calls.size(); ++i) {
      Call& c = calls[i];
      if (ended[i]) continue;
      const bool may = c.is_message() || !busy.contains(c.comm.get());
      if (may && goes_on(c)) {
        ended[i] = true;
        --c.comm->under_way;
        continue;
      }
      if (!c.is_message()) busy.insert(c.comm.get());
      all = false;
    }
    return all;
  }
};

thread_local int t_depth = 0;
thread_local std::vector<Call> t_calls;

void give(std::vector<Call> calls) {
  std::vector<cudaStream_t> streams;
  for (const Call& c : calls)
    if (std::find(streams.begin(), streams.end(), c.stream) == streams.end())
      streams.push_back(c.stream);
  for (const cudaStream_t stream : streams) {
    const auto batch = std::make_shared<Batch>();
    Item item;
    for (Call& c : calls) {
      if (c.stream != stream) continue;
      ncclComm& comm = *c.comm;
      const auto other = static_cast<std::size_t>(c.other);
      c.number = c.kind == Kind::send   ? ++comm.sent[other]
                 : c.kind == Kind::recv ? ++comm.received[other]
                                        : ++comm.calls;
      ++comm.under_way;
      if (c.in_bytes() > 0) item.touches.push_back(reads(c.in, c.in_bytes()));
      if (c.out_bytes() > 0) item.touches.push_back(writes(c.out, c.out_bytes()));
      item.name = kNames[static_cast<int>(c.kind)];
      batch->calls.push_back(c);
    }
    batch->ended.resize(batch->calls.size());
    item.poll = [batch] { return batch->poll(); };
    item.refused = "the emulation keeps no communication in graphs";
    enqueue(stream, std::move(item));
  }
}

ncclResult_t call(Kind kind, const void* in, void* out, std::size_t count, ncclDataType_t type,
                  ncclRedOp_t op, int other, ncclComm_t comm, cudaStream_t stream) {
  const Turn turn;
  const auto found = comms().find(comm);
  if (found == comms().end()) {
    failed(fmt::format("{} on an NCCL group that is gone", kNames[static_cast<int>(kind)]));
    return ncclInvalidArgument;
  }
  const auto queue = queue_of(stream);
  if (queue && queue->device != found->second->device)
    failed(fmt::format("{} of an NCCL group of GPU {} on {}", kNames[static_cast<int>(kind)],
                       found->second->device, named(*queue)));
  t_calls.push_back({kind, found->second, in, out, count, type, op, other, stream});
  if (t_depth == 0) give(std::exchange(t_calls, {}));
  return ncclSuccess;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id, 0, sizeof *id);
  const std::string name = NcclBoard::make();
  std::memcpy(id->internal, name.data(), name.size());
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* made, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t*) {
  const Turn turn;
  auto comm = std::make_shared<ncclComm>();
  comm->board = std::make_unique<NcclBoard>(id.internal, rank, size);
  comm->rank = rank, comm->size = size, comm->device = current_gpu();
  comm->sent.resize(static_cast<std::size_t>(size));
  comm->received.resize(static_cast<std::size_t>(size));
  *made = comm.get();
  comms()[comm.get()] = comm;
  if (!goes()) goes() = std::make_unique<Goes>();
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  const Turn turn(Turn::Kind::look);
  const auto found = comms().find(comm);
  if (found == comms().end()) return ncclInvalidArgument;
  *error = found->second->error;
  ncclComm& c = *found->second;
  if (c.is_finalized && c.under_way > 0) run_everything();
  const bool in_progress = !c.board->is_complete() || (c.is_finalized && c.under_way > 0);
  if (*error == ncclSuccess && in_progress) *error = ncclInProgress;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const Turn turn;
  const auto found = comms().find(comm);
  if (found == comms().end()) return ncclInvalidArgument;
  found->second->is_finalized = true;
  return found->second->under_way > 0 ? ncclInProgress : ncclSuccess;
}

static ncclResult_t forget(ncclComm_t comm, bool aborts) {
  bool last = false;
  {
    const Turn turn;
    const auto found = comms().find(comm);
    if (found == comms().end()) return ncclInvalidArgument;
    if (!aborts && found->second->under_way > 0)
      failed("an NCCL group is destroyed while a call of it is under way");
    found->second->aborted = true;
    comms().erase(found);
    last = comms().empty();
  }
  if (last) goes().reset();
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) { return forget(comm, false); }
ncclResult_t ncclCommAbort(ncclComm_t comm) { return forget(comm, true); }

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclSuccess       ? "no error"
         : result == ncclRemoteError ? "remote process exited or there was a network error"
                                     : "an error of the emulated NCCL";
}
const char* ncclGetLastError(ncclComm_t comm) {
  const Turn turn;
  const auto found = comms().find(comm);
  return found == comms().end() ? "" : found->second->error_text.c_str();
}

ncclResult_t ncclGroupStart() { return ++t_depth, ncclSuccess; }
ncclResult_t ncclGroupEnd() {
  if (--t_depth > 0) return ncclSuccess;
  const Turn turn;
  give(std::exchange(t_calls, {}));
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* in, void* out, size_t n, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t comm, cudaStream_t stream) {
  return call(Kind::all_reduce, in, out, n, type, op, -1, comm, stream);
}
ncclResult_t ncclReduceScatter(const void* in, void* out, size_t n, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return call(Kind::reduce_scatter, in, out, n, type, op, -1, comm, stream);
}
ncclResult_t ncclAllGather(const void* in, void* out, size_t n, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return call(Kind::all_gather, in, out, n, type, ncclSum, -1, comm, stream);
}
ncclResult_t ncclBroadcast(const void* in, void* out, size_t n, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return call(Kind::broadcast, in, out, n, type, ncclSum, root, comm, stream);
}
ncclResult_t ncclSend(const void* in, size_t n, ncclDataType_t type, int to, ncclComm_t comm,
                      cudaStream_t stream) {
  return call(Kind::send, in, nullptr, n, type, ncclSum, to, comm, stream);
}
ncclResult_t ncclRecv(void* out, size_t n, ncclDataType_t type, int from, ncclComm_t comm,
                      cudaStream_t stream) {
  return call(Kind::recv, nullptr, out, n, type, ncclSum, from, comm, stream);
}

}  // extern "C"
