// What this process may use of the host, as measured here; nothing stated by a vendor.
#pragma once

#include <cstdint>
#include <string>

namespace weft {

// What of the host this job may use, and the memory it has.
struct HostHardware {
  int cores = 1, hardware_threads = 1, numa_domains = 1;
  double memory_bytes = 0;  // 0: not known
};
HostHardware host_hardware();
int host_cores();     // its physical cores
int affinity_cpus();  // CPUs that this process is bound to
std::string cpu_model();
std::string host_name();
long resident_bytes();  // of this process

// Threads of a rank: as asked, or the host's cores shared among the ranks on it. Warns, with the
// fix, where the rank is bound to fewer CPUs.
int resolve_threads(std::int64_t asked, int ranks_on_host);

}  // namespace weft
