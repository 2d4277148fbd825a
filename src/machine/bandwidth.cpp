#include "machine/bandwidth.h"

#include <fmt/format.h>

namespace weft {
namespace {

double measured(const MachineCollectives& m, std::string_view collective) {
  if (collective.find("all_reduce") != std::string_view::npos) return m.all_reduce_gb_per_s;
  return collective == "all_gather" ? m.all_gather_gb_per_s : 0;
}

// The one on as many nodes, else on the next fewer, else on the fewest; null: none.
const MachineCollectives* nearest(const Machine& machine, std::string_view collective,
                                  std::int64_t nodes, std::string_view network) {
  const MachineCollectives *below = nullptr, *above = nullptr;
  for (const MachineCollectives& m : machine.collectives) {
    if (m.network != network || measured(m, collective) <= 0) continue;
    if (m.nodes <= nodes && (!below || m.nodes > below->nodes)) below = &m;
    if (m.nodes > nodes && (!above || m.nodes < above->nodes)) above = &m;
  }
  return below ? below : above;
}

std::optional<DescribedBandwidth> within_node(const MachineLinks& links,
                                              std::int64_t ranks_on_node) {
  if (links.gpu_gb_per_s <= 0) return std::nullopt;
  const double one_way = links.gpu_gb_per_s / 2;
  const std::int64_t others = ranks_on_node - 1;
  if (links.gpu_peers == 0 || others >= links.gpu_peers)
    return DescribedBandwidth{one_way, false, "a GPU's links, stated, one way"};
  return DescribedBandwidth{
      one_way * static_cast<double>(others) / static_cast<double>(links.gpu_peers), false,
      fmt::format("a GPU's links to {} of {} others, stated, one way", others, links.gpu_peers)};
}

}  // namespace

std::optional<DescribedBandwidth> described_bandwidth(const Machine& machine,
                                                      std::string_view collective,
                                                      const GroupPlace& place,
                                                      std::string_view network) {
  const MachineLinks& links = machine.links;
  if (place.nodes <= 1) return within_node(links, place.ranks_on_node);
  const auto shared = [&](double gb_per_s, bool is_measured, std::string source) {
    if (place.beside > 1) source += fmt::format(", shared by {} groups", place.beside);
    return DescribedBandwidth{gb_per_s / static_cast<double>(place.beside), is_measured,
                              std::move(source)};
  };
  if (const MachineCollectives* m = nearest(machine, collective, place.nodes, network))
    return shared(measured(*m, collective), true,
                  fmt::format("nccl-tests on {} nodes, 1 GiB", m->nodes));
  if (links.nics == 0 || links.nic_gb_per_s <= 0) return std::nullopt;
  if (collective == "send and recv" && place.ranks_on_node * place.beside == 1)
    return shared(links.nic_gb_per_s, false, "a NIC, stated");
  return shared(static_cast<double>(links.nics) * links.nic_gb_per_s, false,
                "a node's NICs, stated");
}

}  // namespace weft
