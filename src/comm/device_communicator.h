// Groups whose ranks have a GPU each: what lies in host memory goes over the group that is given
// (MPI), what lies on the device over NCCL, in the order of the stream.
#pragma once

#include <memory>
#include <string>

#include "comm/collective_watch.h"
#include "comm/communicator.h"

namespace weft {

std::string nccl_absence();  // why no rank's device can meet another's, a clause; "": they can

// What is sent from rank to rank on a device.
enum class Links : std::uint8_t {
  none,
  ring,  // from each rank to the next and to the one before
};

// Of the host group, for device memory of `device` too. Messages between devices are told apart by
// kLanes kinds of tags (tag % kLanes): those of one kind arrive in the order in which they are
// sent, whatever their tags. A Transfer's wait makes its stream wait, not the host; a split gives a
// host group. name: of what is watched, "tensor-parallel". Collective over the group; Error where
// not all have come within the watch's time.
constexpr int kLanes = 2;
std::unique_ptr<Communicator> make_device_communicator(std::unique_ptr<Communicator> host,
                                                       Device device, const std::string& name,
                                                       Links links,
                                                       std::shared_ptr<CollectiveWatch> watch);

}  // namespace weft
