#include "machine/gpu_choice.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <numeric>

#include "core/check.h"

namespace weft {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::vector<std::string_view> split_at_commas(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    parts.push_back(trimmed(text.substr(0, comma)));
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

std::optional<std::int64_t> id_of(std::string_view text) {
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && id >= 0 && id < 1024 ? std::optional(id) : std::nullopt;
}

// The places in `visible`, by the NUMA domains of their GPUs; none where one is not known.
std::optional<std::vector<std::int64_t>> by_domain(const Machine* machine,
                                                   const std::vector<std::int64_t>& visible) {
  std::vector<std::int64_t> order(visible.size()), numa(visible.size(), -1);
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t i = 0; machine && i < visible.size(); ++i)
    for (const MachineGpu& gpu : machine->gpus)
      if (gpu.id == visible[i]) numa[i] = gpu.numa;
  if (std::find(numa.begin(), numa.end(), -1) != numa.end()) return std::nullopt;
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return numa[static_cast<std::size_t>(a)] < numa[static_cast<std::size_t>(b)];
  });
  return order;
}

}  // namespace

std::vector<std::int64_t> parse_gpu_map(const std::string& text) {
  std::vector<std::int64_t> map;
  if (text.empty()) return map;
  for (const std::string_view part : split_at_commas(text)) {
    const auto id = id_of(part);
    CHECK_USER(id, "--gpu-map is '{}'; allowed: the GPU of each local rank, as 3,2,1,0", text);
    map.push_back(*id);
  }
  return map;
}

std::vector<std::int64_t> visible_gpus(const char* cuda_visible_devices, std::int64_t n_gpus) {
  std::vector<std::int64_t> visible;
  if (!cuda_visible_devices) {
    visible.resize(static_cast<std::size_t>(n_gpus));
    std::iota(visible.begin(), visible.end(), 0);
    return visible;
  }
  for (const std::string_view part : split_at_commas(cuda_visible_devices)) {
    const bool named = part.starts_with("GPU-") || part.starts_with("MIG-");
    const auto id = id_of(part);
    if (!named && !id) break;
    visible.push_back(named ? -1 : *id);
  }
  return visible;
}

std::int64_t gpu_of_local_rank(const Machine* machine, const GpuQuestion& q) {
  const auto n = static_cast<std::int64_t>(q.visible.size());
  CHECK_USER(n > 0, "no GPU is visible to local rank {} (CUDA_VISIBLE_DEVICES)", q.local_rank);
  if (n == 1) return 0;
  if (!q.map.empty()) {
    const auto entries = static_cast<std::int64_t>(q.map.size());
    CHECK_USER(entries >= q.ranks_on_host,
               "--gpu-map names {} GPUs, but {} ranks run on this host; name one for each", entries,
               q.ranks_on_host);
    const std::int64_t id = q.map[static_cast<std::size_t>(q.local_rank)];
    const auto at = std::find(q.visible.begin(), q.visible.end(), id);
    CHECK_USER(at != q.visible.end(),
               "--gpu-map gives local rank {} the GPU {}; allowed: those it sees, {}", q.local_rank,
               id, fmt::join(q.visible, ", "));
    return at - q.visible.begin();
  }
  const auto ranks = std::max<std::int64_t>(q.ranks_on_host, q.local_rank + 1);
  const auto order = by_domain(machine, q.visible);
  if (!order) return q.local_rank * n / std::max(ranks, n);
  return (*order)[static_cast<std::size_t>(q.local_rank * n / ranks)];
}

}  // namespace weft
