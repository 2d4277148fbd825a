#include "machine/device_choice.h"

#include <cstdlib>
#include <map>

#include "comm/agreement.h"
#include "comm/device_communicator.h"
#include "core/check.h"
#include "core/gpu.h"
#include "core/log.h"
#include "core/system/hardware.h"
#include "kernels/backends.h"
#include "machine/gpu_choice.h"

namespace weft {
namespace {

// Why this rank can use no GPU; "": it can use one.
std::string objection(const DeviceWish& wish, int ranks) {
  if (wish.device == "cpu")
    return ranks == 1 ? "--device is cpu" : "--device of one of the ranks is cpu";
  if (gpu_count() == 0) return gpu_absence();
  if (std::string missing = cuda_missing_library(); !missing.empty()) return missing;
  if (!wish.unfit.empty()) return wish.unfit;
  if (ranks == 1) return "";
  // Where a launcher shows each rank one GPU, it may be another's; else it is the host's only one.
  const bool chosen = gpu_count() == 1 && std::getenv("CUDA_VISIBLE_DEVICES");
  if (wish.ranks_on_host > gpu_count() && !chosen)
    return fmt::format("{} ranks run on this host, but {} GPU{} can be used: a rank needs its own",
                       wish.ranks_on_host, gpu_count(), gpu_count() == 1 ? "" : "s");
  if (std::string missing = nccl_absence(); !missing.empty())
    return fmt::format("{}, so that GPUs are for one rank alone", missing);
  return "";
}

Device gpu_of(const DeviceWish& wish, const std::vector<std::int64_t>& map) {
  const auto machine = machine_of_run();
  const GpuQuestion question = {
      .local_rank = wish.local_rank,
      .ranks_on_host = wish.ranks_on_host,
      .visible = visible_gpus(std::getenv("CUDA_VISIBLE_DEVICES"), gpu_count()),
      .map = map};
  const std::int64_t index = gpu_of_local_rank(machine ? &*machine : nullptr, question);
  return {DeviceType::cuda, static_cast<int>(index)};
}

// UserError, the same everywhere, where two ranks of a host took one GPU: each was shown it as its
// own.
void check_own_gpus(Communicator& world, Device mine) {
  if (world.size() == 1) return;
  Stream stream;
  const bool has_gpu = mine.type == DeviceType::cuda;
  const std::vector<std::string> gpus = gather_texts(
      world, has_gpu ? fmt::format("{} ({})", host_name(), gpu::bus_id(mine.index)) : "", stream);
  std::map<std::string, std::size_t> first;
  for (std::size_t rank = 0; rank < gpus.size(); ++rank) {
    if (gpus[rank].empty()) continue;
    const auto [of, is_first] = first.emplace(gpus[rank], rank);
    CHECK_USER(is_first,
               "ranks {} and {} were shown the same GPU of {}: a rank needs its own, which "
               "CUDA_VISIBLE_DEVICES may show each, or --gpu-map name where all see all",
               of->second, rank, gpus[rank]);
  }
}

}  // namespace

Device choose_device(const DeviceWish& wish, Communicator& world) {
  const std::vector<std::int64_t> map = parse_gpu_map(wish.gpu_map);
  Stream stream;
  std::string why_not;  // the first rank's that has a reason, on all ranks
  for (std::string& why : gather_texts(world, objection(wish, world.size()), stream))
    if (why_not.empty()) why_not = std::move(why);
  Device device;
  throw_together(world, failure_of([&] {
                   CHECK_USER(wish.device != "cuda" || why_not.empty(),
                              "--device cuda: {}; allowed here: cpu", why_not);
                   if (why_not.empty()) device = gpu_of(wish, map);
                 }),
                 stream);
  check_own_gpus(world, device);
  if (device.type == DeviceType::cuda || world.rank() != 0) return device;
  if (!map.empty()) log_warning("--gpu-map {} has no effect: this runs on the CPU", wish.gpu_map);
  if (wish.device.empty() && gpu_is_built_in()) log_info("{}: this runs on the CPU", why_not);
  return device;
}

std::string device_word(Device device) { return device.type == DeviceType::cuda ? "cuda" : "cpu"; }

}  // namespace weft
