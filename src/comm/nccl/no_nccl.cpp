#include "comm/device_communicator.h"
#include "core/check.h"

namespace weft {

std::string nccl_absence() { return "this weft was built without NCCL"; }

std::unique_ptr<Communicator> make_device_communicator(std::unique_ptr<Communicator>, Device,
                                                       const std::string&, Links,
                                                       std::shared_ptr<CollectiveWatch>) {
  user_error("several ranks on GPUs: {}", nccl_absence());
}

}  // namespace weft
