#include "benchmarks/comm_groups.h"

#include <algorithm>
#include <map>

#include "comm/device_communicator.h"

namespace weft {

double bus_factor(std::string_view collective, int n) {
  const double shared = static_cast<double>(n - 1) / n;
  if (collective.find("all_reduce") != std::string_view::npos) return 2 * shared;
  return collective == "all_gather" || collective == "reduce_scatter" ? shared : 1;
}

std::vector<std::int64_t> sizes_up_to(std::int64_t max_bytes) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = 8; size <= max_bytes; size *= 8) sizes.push_back(size);
  if (sizes.back() != max_bytes) sizes.push_back(max_bytes / 4 * 4);
  return sizes;
}

Meetings::Meetings(const Grid& grid) : grid_(grid) {
  if (grid.watch())
    group_ = grid.watch()->add({.name = fmt::format("the world, by MPI (rank {} of {})",
                                                    grid.world().rank(), grid.world().size()),
                                .error = {},
                                .abort = {}});
}
Meetings::~Meetings() {
  if (grid_.watch()) grid_.watch()->remove(group_);
}
std::shared_ptr<void> Meetings::watched(CollectiveCall call) {
  return grid_.watch() ? grid_.watch()->add_host_call(group_, call) : nullptr;
}
void Meetings::barrier() {
  const auto under_way = watched({"barrier", 0, DType::u8});
  grid_.world().barrier();
}
void Meetings::all_reduce(View x, ReduceOp op) {
  const auto under_way = watched({"all_reduce", x.elems(), x.dtype()});
  Stream host;
  grid_.world().all_reduce(x, op, host);
}

Groups::Groups(const BenchRun& run) : run_(run) {
  Communicator& world = run.grid.world();
  std::map<std::string, int> seen, number;  // ranks of a host so far, its number
  std::vector<int> place_of;
  for (const std::string& host : run.hosts) {
    host_of_.push_back(number.emplace(host, static_cast<int>(number.size())).first->second);
    place_of.push_back(seen[host]++);
  }
  const bool on_device = run.stream.device().type == DeviceType::cuda;
  if (on_device) world_ = linked(world.split(0, world.rank()), "world's");
  add("world", world_ ? *world_ : world, run.grid.shape().ranks(), true);
  const GridShape& shape = run.grid.shape();
  add("tp", run.grid.tp(), shape.tp, !on_device);
  add("pp", run.grid.pp(), shape.pp, true);
  add("dp", run.grid.dp(), shape.dp, !on_device);
  if (seen.size() < 2) return;
  const auto rank = static_cast<std::size_t>(world.rank());
  node_ = linked(world.split(host_of_[rank], world.rank()), "node's");
  across_ = linked(world.split(place_of[rank], world.rank()), "across nodes");
  int most = 0;
  for (const auto& entry : seen) most = std::max(most, entry.second);
  add("node", *node_, most, true);
  add("across nodes", *across_, static_cast<int>(seen.size()), true);
}

std::unique_ptr<Communicator> Groups::linked(std::unique_ptr<Communicator> ranks,
                                             const char* name) const {
  const Device device = run_.stream.device();
  if (device.type == DeviceType::cpu) return ranks;
  return make_device_communicator(std::move(ranks), device, name, Links::ring, run_.grid.watch());
}

void Groups::add(const char* name, Communicator& ranks, int size, bool sends) {
  const Communicator& world = run_.grid.world();
  if (size < 2 || (!all_.empty() && size == run_.grid.shape().ranks())) return;
  std::vector<std::int32_t> hosts(static_cast<std::size_t>(ranks.size()));
  const std::int32_t mine = host_of_[static_cast<std::size_t>(world.rank())];
  Stream host;
  ranks.all_gather(View(hosts.data(), Dims{ranks.size()}), ConstView(&mine, Dims{1}), host);
  std::map<std::int32_t, std::int64_t> on_host;  // of the group
  for (const std::int32_t h : hosts) ++on_host[h];
  const std::int64_t here = on_host[mine], all_here = std::ranges::count(host_of_, mine);
  all_.push_back({name,
                  &ranks,
                  {.nodes = std::ssize(on_host),
                   .ranks_on_node = here,
                   .beside = std::max<std::int64_t>(1, all_here / here)},
                  sends});
}

}  // namespace weft
