// One group of NCCL's, of this rank and a device: its calls, checked and watched.
#pragma once

#include <nccl.h>

#include <functional>
#include <memory>
#include <string>

#include "comm/collective_watch.h"
#include "comm/communicator.h"
#include "core/check.h"

namespace weft {

// clang-format off
#define WEFT_FOR_EACH_NCCL(X)                                                          \
  X(ncclGetUniqueId) X(ncclCommInitRankConfig) X(ncclCommFinalize) X(ncclCommDestroy)  \
  X(ncclCommAbort) X(ncclCommGetAsyncError) X(ncclGetErrorString) X(ncclGetLastError)  \
  X(ncclGroupStart) X(ncclGroupEnd) X(ncclAllReduce) X(ncclReduceScatter)              \
  X(ncclAllGather) X(ncclBroadcast) X(ncclSend) X(ncclRecv)
// clang-format on

// The part of NCCL that Weft calls, found when it is first needed.
struct Nccl {
#define WEFT_NCCL_MEMBER(function) decltype(&::function) function;
  WEFT_FOR_EACH_NCCL(WEFT_NCCL_MEMBER)
#undef WEFT_NCCL_MEMBER
};
const Nccl& nccl();  // a UserError where it cannot be loaded

ncclDataType_t nccl_type(DType dtype);
ncclRedOp_t nccl_op(ReduceOp op);

// Events that are used again when nobody holds them any more.
class EventPool {
 public:
  explicit EventPool(Device device) : device_(device), idle_(std::make_shared<Idle>()) {}
  std::shared_ptr<Event> take();

 private:
  struct Idle {
    std::mutex mutex;
    std::vector<std::unique_ptr<Event>> events;
  };
  Device device_;
  std::shared_ptr<Idle> idle_;
};

class NcclGroup {
 public:
  // Rank `rank` of `size`, which all have been told `id` (new_id() of one of them) and make theirs.
  // Returns when all have come; Error where they have not within the watch's time.
  NcclGroup(std::string name, const ncclUniqueId& id, int rank, int size, Device device,
            std::shared_ptr<CollectiveWatch> watch);
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  static ncclUniqueId new_id();

  // Gives NCCL what `calls` makes, of this group and on this stream, as one: `what` to the watch.
  // The event passes when it has ended.
  std::shared_ptr<const Event> give(CollectiveCall what, Stream& stream,
                                    const std::function<void(ncclComm_t, cudaStream_t)>& calls);

 private:
  void settle(ncclResult_t said, const char* call);  // waits until NCCL has taken the call

  std::string name_;
  Device device_;
  std::shared_ptr<CollectiveWatch> watch_;
  EventPool events_;
  ncclComm_t comm_ = nullptr;
  int watched_ = -1;
};

// A call of NCCL's inside give().
#define NCCL_CHECK(call)                                                                           \
  do {                                                                                             \
    const ncclResult_t nccl_said = (call);                                                         \
    CHECK(nccl_said == ncclSuccess || nccl_said == ncclInProgress, "{}: {} ({})", #call,           \
          ::weft::nccl().ncclGetErrorString(nccl_said), ::weft::nccl().ncclGetLastError(nullptr)); \
  } while (false)

}  // namespace weft
