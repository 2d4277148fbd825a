#include "core/system/hardware.h"

#include <hwloc.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "core/check.h"
#include "core/log.h"
#include "core/option_words.h"

namespace weft {

HostHardware host_hardware() {
  HostHardware host;
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) != 0) return host;
  if (hwloc_topology_load(topology) == 0) {
    const auto count = [&](hwloc_obj_type_t type) {
      return std::max(1, hwloc_get_nbobjs_by_type(topology, type));
    };
    host = {count(HWLOC_OBJ_CORE), count(HWLOC_OBJ_PU), count(HWLOC_OBJ_NUMANODE),
            static_cast<double>(hwloc_get_root_obj(topology)->total_memory)};
  }
  hwloc_topology_destroy(topology);
  return host;
}

int host_cores() { return host_hardware().cores; }

int affinity_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : host_cores();
}

std::string cpu_model() {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line))
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown CPU";
}

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "unknown host";
}

long resident_bytes() {
  long pages = 0, resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (!file) return 0;
  const int n = std::fscanf(file, "%ld %ld", &pages, &resident);
  std::fclose(file);
  return n == 2 ? resident * sysconf(_SC_PAGESIZE) : 0;
}

int resolve_threads(std::int64_t asked, int ranks_on_host) {
  check_allowed("--threads", asked, kThreads);
  const int share = std::max(1, host_cores() / std::max(1, ranks_on_host)), bound = affinity_cpus();
  const int wanted = asked > 0 ? static_cast<int>(asked) : share;
  if (wanted > bound) {
    log_warning(
        "this rank is bound to {} CPU{}, but {} threads {}; give mpiexec --bind-to none (Open MPI) "
        "or --cpu-bind depth (PALS)",
        bound, bound == 1 ? "" : "s", wanted, asked > 0 ? "are asked for" : "would fit the host");
    return asked > 0 ? wanted : bound;
  }
  return wanted;
}

}  // namespace weft
