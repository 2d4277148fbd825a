#include "comm/grid.h"

#include "comm/device_communicator.h"
#include "core/check.h"
#include "core/log.h"
#include "core/option_words.h"
#include "core/system/hardware.h"

namespace weft {

GridShape resolve_grid(std::int64_t tp, std::int64_t pp, std::int64_t dp, int n_ranks) {
  check_allowed("--tp", tp, kGridAxis);
  check_allowed("--pp", pp, kGridAxis);
  check_allowed("--dp", dp, kGridAxisOrLeft);
  const std::int64_t replica = tp * pp;
  if (dp == 0) {
    CHECK_USER(n_ranks % replica == 0,
               "--tp {} --pp {} needs a multiple of {} ranks, but {} {} started", tp, pp, replica,
               n_ranks, n_ranks == 1 ? "was" : "were");
    dp = n_ranks / replica;
  }
  CHECK_USER(replica * dp == n_ranks, "--tp {} --pp {} --dp {} needs {} ranks, but {} {} started",
             tp, pp, dp, replica * dp, n_ranks, n_ranks == 1 ? "was" : "were");
  return {static_cast<int>(tp), static_cast<int>(pp), static_cast<int>(dp)};
}

Grid::Grid(std::unique_ptr<Communicator> world, GridShape shape, Device device,
           std::int64_t comm_timeout_s)
    : shape_(shape), world_(std::move(world)) {
  CHECK(shape.ranks() == world_->size(), "a grid of {} x {} x {} on {} ranks", shape.tp, shape.pp,
        shape.dp, world_->size());
  const int rank = world_->rank();
  const int t = rank % shape.tp, p = rank / shape.tp % shape.pp, d = rank / (shape.tp * shape.pp);
  tp_ = world_->split(rank / shape.tp, t);
  pp_ = world_->split(t + shape.tp * d, p);
  dp_ = world_->split(rank % (shape.tp * shape.pp), d);
  replica_ = world_->split(d, t + shape.tp * p);
  const bool end = p == 0 || p == shape.pp - 1;
  ends_ = world_->split(end ? t + shape.tp * d : shape.ranks() + rank, p);
  if (device.type == DeviceType::cuda && shape.ranks() > 1) link_devices(device, comm_timeout_s);
}

const Communicator& Grid::group(GridGroup which) const {
  return *std::array{&tp_, &pp_, &dp_, &replica_, &ends_, &world_}[static_cast<std::size_t>(which)]
              ->get();
}

void Grid::link_devices(Device device, std::int64_t comm_timeout_s) {
  const int rank = world_->rank();
  watch_ = std::make_shared<CollectiveWatch>(
      static_cast<double>(comm_timeout_s), [rank](const std::string& text) {
        Mpi::give_way(rank);
        log_line(LogLevel::error, fmt::format("weft: rank {} on {}: {}", rank, host_name(), text));
        Mpi::abort(1);
      });
  const auto link = [&](std::unique_ptr<Communicator>& group, const char* name, Links links) {
    group = make_device_communicator(std::move(group), device, name, links, watch_);
  };
  link(tp_, "tensor-parallel", Links::none);
  link(pp_, "pipeline", Links::ring);
  link(dp_, "data-parallel", Links::none);
  link(replica_, "replica's", Links::none);
  link(ends_, "tied embedding's", Links::none);
}

}  // namespace weft
