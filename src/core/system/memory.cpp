#include "core/system/memory.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

namespace weft {
namespace {

namespace fs = std::filesystem;

std::optional<std::int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  std::int64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;  // "max", or not there
}

// The values of "key value" lines that have one of the keys, added up.
std::int64_t sum_in(const fs::path& file, const std::vector<std::string>& keys) {
  std::ifstream in(file);
  std::string key;
  std::int64_t sum = 0;
  for (std::int64_t value = 0; in >> key >> value; in.ignore(256, '\n'))
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) sum += value;
  return sum;
}

// How a version of cgroups names what it says of memory.
struct CgroupFiles {
  std::vector<std::string> limits;
  std::string used;
  std::vector<std::string> cache;  // of memory.stat: page cache, which can be dropped
  std::string outer_limit;  // of memory.stat: the least of the cgroups above, also unseen ones
};
const CgroupFiles kVersion1 = {{"memory.limit_in_bytes"},
                               "memory.usage_in_bytes",
                               {"total_inactive_file", "total_active_file"},
                               "hierarchical_memory_limit"};
const CgroupFiles kVersion2 = {
    {"memory.max", "memory.high"}, "memory.current", {"inactive_file", "active_file"}, ""};

// A mounted hierarchy of cgroups that counts memory.
struct Hierarchy {
  const CgroupFiles* files;
  fs::path root;   // the cgroup that the mount point shows
  fs::path mount;  // from the host's root
  bool is_version_1() const { return files == &kVersion1; }
};

bool names(const std::string& list, const std::string& word) {
  std::istringstream in(list);
  for (std::string entry; std::getline(in, entry, ',');)
    if (entry == word) return true;
  return false;
}

// "36 35 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
std::vector<Hierarchy> hierarchies(const fs::path& root) {
  std::vector<Hierarchy> found;
  std::ifstream in(root / "proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream place(line.substr(0, dash)), kind(line.substr(dash + 3));
    std::string skipped, shown, mount, type, device, options;
    place >> skipped >> skipped >> skipped >> shown >> mount;
    kind >> type >> device >> options;
    if (type == "cgroup2") found.push_back({&kVersion2, shown, mount});
    if (type == "cgroup" && names(options, "memory")) found.push_back({&kVersion1, shown, mount});
  }
  return found;
}

// The cgroup of this process in the hierarchy: "4:memory:/job_7" (version 1) or "0::/job_7".
std::optional<fs::path> own_cgroup(const fs::path& root, const Hierarchy& hierarchy) {
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (hierarchy.is_version_1() ? names(controllers, "memory") : controllers.empty())
      return fs::path(line.substr(second + 1)).lexically_normal();
  }
  return std::nullopt;
}

// The folders of the process's cgroup and of all above it, as far as they are mounted. One beside
// what is mounted (a container without a namespace of its own) is under the mount point itself.
std::vector<fs::path> own_folders(const fs::path& root, const Hierarchy& hierarchy) {
  const std::optional<fs::path> own = own_cgroup(root, hierarchy);
  if (!own) return {};
  const fs::path mount = root / hierarchy.mount.relative_path();
  fs::path below = own->lexically_relative(hierarchy.root);
  if (below.empty() || *below.begin() == "..") below = ".";
  std::vector<fs::path> folders = {mount};
  for (const fs::path& part : below)
    if (part != "." && !part.empty()) folders.push_back(folders.back() / part);
  return folders;
}

void take_least(MemoryRoom& room, std::int64_t bytes, const std::string& bound) {
  bytes = std::max<std::int64_t>(bytes, 0);
  if (bytes < room.bytes) room = {bytes, bound};
}

std::string share_of(int ranks) {
  return ranks > 1 ? fmt::format("a rank's share (of {}) of what ", ranks) : "what ";
}
double gb(std::int64_t bytes) { return static_cast<double>(bytes) / 1e9; }

void look_at_cgroups(MemoryRoom& room, int ranks, const fs::path& root) {
  for (const Hierarchy& hierarchy : hierarchies(root)) {
    const CgroupFiles& files = *hierarchy.files;
    for (const fs::path& folder : own_folders(root, hierarchy)) {
      const std::int64_t used =
          std::max<std::int64_t>(0, number_in(folder / files.used).value_or(0) -
                                        sum_in(folder / "memory.stat", files.cache));
      const auto limit = [&](std::int64_t bytes, const std::string& file) {
        take_least(
            room, (bytes - used) / ranks,
            fmt::format("{}the job's limit of {:.2f} GB leaves ({})", share_of(ranks), gb(bytes),
                        ("/" / (folder / file).lexically_relative(root)).string()));
      };
      for (const std::string& file : files.limits)
        if (const auto bytes = number_in(folder / file)) limit(*bytes, file);
      if (files.outer_limit.empty()) continue;
      if (const std::int64_t bytes = sum_in(folder / "memory.stat", {files.outer_limit}); bytes > 0)
        limit(bytes, "memory.stat");
    }
  }
}

// Pages of /proc/self/statm: size, resident, shared, text, lib, data.
void look_at_own_limits(MemoryRoom& room, const MemorySources& sources) {
  std::ifstream in(sources.root / "proc/self/statm");
  std::int64_t pages[6] = {};
  for (std::int64_t& n : pages) in >> n;
  const auto limit = [&](std::uint64_t bytes, std::int64_t used_pages, const char* name) {
    if (bytes > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return;
    const auto most = static_cast<std::int64_t>(bytes);
    take_least(room, most - used_pages * sysconf(_SC_PAGESIZE),
               fmt::format("what {} ({:.2f} GB) leaves", name, gb(most)));
  };
  limit(sources.address_space, pages[0], "ulimit -v");
  limit(sources.data, pages[5], "ulimit -d");
}

}  // namespace

MemorySources own_memory_sources() {
  MemorySources sources;
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    sources.address_space = limit.rlim_cur;
  if (getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    sources.data = limit.rlim_cur;
  return sources;
}

MemoryRoom memory_room(int ranks_on_host, const MemorySources& sources) {
  const int ranks = std::max(1, ranks_on_host);
  MemoryRoom room;
  const fs::path meminfo = sources.root / "proc/meminfo";
  if (const std::int64_t kb = sum_in(meminfo, {"MemAvailable:"}); kb > 0)
    take_least(room, kb * 1024 / ranks, share_of(ranks) + "the host has free");
  look_at_cgroups(room, ranks, sources.root);
  look_at_own_limits(room, sources);
  return room;
}

MemoryRoom memory_room(Device device, int ranks_on_host) {
  if (device.type == DeviceType::cpu) return memory_room(ranks_on_host);
  return {gpu_free_bytes(device), fmt::format("free on GPU {}", device.index)};
}

}  // namespace weft
