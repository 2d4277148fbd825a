#include "comm/nccl/nccl_group-inl.h"

#include <chrono>
#include <exception>
#include <utility>

#include "comm/device_communicator.h"
#include "comm/patience.h"

// WEFT_NCCL_ABSENCE(), WEFT_FIND_IN_NCCL(function): of the library, or of the emulation
#include "nccl_body.h"

namespace weft {

std::string nccl_absence() { return WEFT_NCCL_ABSENCE(); }

const Nccl& nccl() {
#define WEFT_NCCL_FOUND(function) .function = WEFT_FIND_IN_NCCL(function),
  static const Nccl found = {WEFT_FOR_EACH_NCCL(WEFT_NCCL_FOUND)};
#undef WEFT_NCCL_FOUND
  return found;
}

ncclDataType_t nccl_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return ncclFloat32;
    case DType::f64:
      return ncclFloat64;
    case DType::bf16:
      return ncclBfloat16;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
    default:
      break;
  }
  CHECK(false, "a reduction over GPUs takes fp32, fp64, bf16, int32 or int64, not {}",
        dtype_name(dtype));
}

ncclRedOp_t nccl_op(ReduceOp op) {
  return op == ReduceOp::sum ? ncclSum : op == ReduceOp::max ? ncclMax : ncclMin;
}

std::shared_ptr<Event> EventPool::take() {
  std::unique_ptr<Event> event;
  {
    const std::lock_guard lock(idle_->mutex);
    if (!idle_->events.empty()) {
      event = std::move(idle_->events.back());
      idle_->events.pop_back();
    }
  }
  if (!event) event = std::make_unique<Event>(device_);
  return {event.release(), [idle = idle_](Event* e) {
            const std::lock_guard lock(idle->mutex);
            idle->events.emplace_back(e);
          }};
}

ncclUniqueId NcclGroup::new_id() {
  ncclUniqueId id;
  NCCL_CHECK(nccl().ncclGetUniqueId(&id));
  return id;
}

NcclGroup::NcclGroup(std::string name, const ncclUniqueId& id, int rank, int size, Device device,
                     std::shared_ptr<CollectiveWatch> watch)
    : name_(std::move(name)), device_(device), watch_(std::move(watch)), events_(device) {
  const DeviceGuard current(device);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // so that nobody waits for ever for a rank that is gone
  try {
    settle(nccl().ncclCommInitRankConfig(&comm_, size, id, rank, &config),
           "ncclCommInitRankConfig");
  } catch (const Error&) {
    if (comm_) nccl().ncclCommAbort(comm_);
    throw;
  }
  const ncclComm_t comm = comm_;
  watched_ = watch_->add({.name = name_,
                          .error =
                              [comm] {
                                ncclResult_t said = ncclSuccess;
                                nccl().ncclCommGetAsyncError(comm, &said);
                                if (said == ncclSuccess || said == ncclInProgress)
                                  return std::string();
                                return fmt::format("{} ({})", nccl().ncclGetErrorString(said),
                                                   nccl().ncclGetLastError(comm));
                              },
                          .abort = [comm] { nccl().ncclCommAbort(comm); }});
}

// Nobody waits for a peer that is gone, and what failed is said elsewhere.
NcclGroup::~NcclGroup() {
  if (!watch_->remove(watched_)) return;
  const DeviceGuard current(device_);
  if (std::uncaught_exceptions() > 0) {
    nccl().ncclCommAbort(comm_);
    return;
  }
  try {
    settle(nccl().ncclCommFinalize(comm_), "ncclCommFinalize");
    nccl().ncclCommDestroy(comm_);
  } catch (const Error&) {
    nccl().ncclCommAbort(comm_);
  }
}

void NcclGroup::settle(ncclResult_t said, const char* call) {
  const auto begin = std::chrono::steady_clock::now();
  Patience patience;
  patience.begin();
  while (said == ncclInProgress) {
    watch_->check();
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin;
    if (waited.count() > watch_->timeout_s())
      machine_error(
          "{}: {} has not ended for {:.0f} s: another rank died, stopped or makes other "
          "calls; --comm-timeout says how long is waited",
          name_, call, waited.count());
    patience.pause();
    NCCL_CHECK(nccl().ncclCommGetAsyncError(comm_, &said));
  }
  CHECK(said == ncclSuccess, "{}: {}: {} ({})", name_, call, nccl().ncclGetErrorString(said),
        nccl().ncclGetLastError(comm_));
}

std::shared_ptr<const Event> NcclGroup::give(
    CollectiveCall what, Stream& stream,
    const std::function<void(ncclComm_t, cudaStream_t)>& calls) {
  watch_->check();
  const DeviceGuard current(device_);
  NCCL_CHECK(nccl().ncclGroupStart());
  calls(comm_, static_cast<cudaStream_t>(stream.native()));
  settle(nccl().ncclGroupEnd(), "ncclGroupEnd");
  const std::shared_ptr<Event> end = events_.take();
  end->record(stream);
  watch_->add_call(watched_, what, end);
  return end;
}

}  // namespace weft
