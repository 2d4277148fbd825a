// What a machine's description says of the bandwidth between its GPUs.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "machine/machine.h"

namespace weft {

struct DescribedBandwidth {
  double gb_per_s = 0;       // bus bandwidth as nccl-tests' (1e9 bytes), one way
  bool is_measured = false;  // by others, of this collective; else it is what links are stated for
  std::string source;        // a clause: "nccl-tests on 2 nodes, 1 GiB"
};

// Where the ranks of a group are, a GPU each.
struct GroupPlace {
  std::int64_t nodes = 1;
  std::int64_t ranks_on_node = 1;  // of the group
  std::int64_t beside = 1;         // groups with as many ranks on a node, at it at the same time
};

// Of a collective ("all_reduce", "all_gather"; others have the links' alone). none: the description
// does not say.
// Within a node: half of a GPU's links, which count both ways; where each goes to one other GPU,
// those to the group's.
// Across nodes, shared by the groups beside: measured on as many nodes, else on the next fewer,
// else on the fewest, with all GPUs of a node; where nothing was, all NICs of a node, and of a
// message
// ("send and recv") that is alone one NIC.
// network: a rung of launch/README.md's ladder.
std::optional<DescribedBandwidth> described_bandwidth(const Machine& machine,
                                                      std::string_view collective,
                                                      const GroupPlace& place,
                                                      std::string_view network = "full");

}  // namespace weft
