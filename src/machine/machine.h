// A machine as data: launch/<name>/machine.toml. The linter, the job scripts, the choice of a GPU
// and the reports read it, so that no number of a machine stands in two places.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace weft {

// What one node has. Counts of 0: none, or not known.
struct MachineNode {
  std::int64_t count = 0;  // nodes of the machine
  std::string cpu;
  std::int64_t cores = 0, hardware_threads = 0, numa_domains = 1;
  double memory_gib = 0;
  std::int64_t gpus = 0;
  std::string gpu;
  double gpu_memory_gib = 0;
  std::string local_scratch;  // a folder on the node's own disk; empty: none is known
  std::string source;         // where the numbers come from, and which are doubted
};

// Rates of one node's parts, as stated by the vendor or as measured (each says which: *_source).
struct MachinePeaks {
  double cpu_fp32_gflops = 0, cpu_bf16_gflops = 0, cpu_read_gb_per_s = 0;    // of a node
  double gpu_bf16_tflops = 0, gpu_fp32_tflops = 0, gpu_memory_gb_per_s = 0;  // of one GPU
  double gpu_fp16_tflops_measured = 0, gpu_memory_gb_per_s_measured = 0;     // of one GPU
  std::string source;  // where the numbers come from
};

struct MachineLinks {
  double gpu_gb_per_s = 0;     // of one GPU to the others of its node, both ways
  std::int64_t gpu_peers = 0;  // among which that is divided; 0: a switch gives all of it to each
  std::int64_t nics = 0;
  double nic_gb_per_s = 0;  // each
  std::string source;
};

// Bus bandwidths of NCCL's collectives of 1 GiB over all GPUs of so many nodes, measured by others
// (nccl-tests). 0: not published.
struct MachineCollectives {
  std::int64_t nodes = 2;
  std::string network = "full";  // full, no-gdr or sockets: launch/README.md's ladder
  double all_reduce_gb_per_s = 0, all_gather_gb_per_s = 0;
  std::string source;
};
inline constexpr const char* kNetworks[] = {"full", "no-gdr", "sockets"};

// Where a GPU hangs.
struct MachineGpu {
  std::int64_t id = 0;
  std::int64_t numa = -1;  // -1: not known
  std::string cores;       // "24-31,56-63"
  std::string nic;         // empty: none near
};

enum class LauncherDialect : std::uint8_t { pals, open_mpi, hydra, srun };
enum class SchedulerKind : std::uint8_t { none, pbs, slurm };

struct MachineLauncher {
  LauncherDialect dialect = LauncherDialect::open_mpi;
  std::string command = "mpiexec";
  std::string source;
};

// Lists that are empty allow everything.
struct MachineScheduler {
  SchedulerKind kind = SchedulerKind::none;
  std::string system;                  // value of the chunk resource `system`; empty: there is none
  std::int64_t max_ncpus = 0;          // a chunk that asks for more never runs; 0: no limit
  std::vector<std::string> required;   // of kRequirable
  std::vector<std::string> resources;  // names that -l may use for the whole job (PBS)
  std::vector<std::string> chunk_resources;  // names that a chunk of select may use (PBS)
  std::vector<std::string> file_systems;     // values that filesystems= may list
  std::vector<std::string> constraints;      // values of --constraint (Slurm)
  std::string keep_files;                    // the one value of -k that qsub takes; empty: any
  bool queue_is_qos = false;                 // queues are named by --qos, not --partition (Slurm)
  std::int64_t kill_delay_s = 10;            // between SIGTERM and SIGKILL at the walltime
  std::string source;
};
// What a scheduler may insist on.
inline constexpr const char* kRequirable[] = {"account",     "walltime",   "select",
                                              "filesystems", "constraint", "queue"};

// What a queue's select (or --nodes) counts.
enum class QueueUnit : std::uint8_t { node, gpu };

struct MachineQueue {
  std::string name;
  bool is_default = false, available = true, preemptable = false;
  QueueUnit unit = QueueUnit::node;
  std::int64_t min = 1, max = 0;      // nodes, or GPUs; max 0: no limit
  std::vector<std::int64_t> allowed;  // the only counts that are taken; empty: all of min to max
  double min_walltime_s = 0, max_walltime_s = 0;
  std::int64_t max_array_running = 0;  // subjobs at once; a wider array without %N never runs
  std::int64_t jobs_per_user = 0;      // queued or running; 1: no chains
  std::vector<std::string> routes_to;  // a routing queue: the first of these whose range fits
  std::int64_t advised_max = 0;        // more are taken, but may wait for ever; 0: no advice
  bool direct = true;                  // jobs may name it; false: only a routing queue does
  std::string note;                    // what a user of it should know
};

struct MachineFileSystem {
  std::string name;  // of filesystems=
  std::string path, kind;
  bool gone = false;  // it was there once: scripts still name it
  std::int64_t default_stripes = 0, targets = 0;
};

struct Machine {
  std::string name, site, source;
  MachineNode node;
  MachinePeaks peaks;
  MachineLinks links;
  std::vector<MachineCollectives> collectives;
  std::vector<MachineGpu> gpus;
  MachineLauncher launcher;
  MachineScheduler scheduler;
  std::vector<MachineQueue> queues;
  std::vector<MachineFileSystem> file_systems;
  std::vector<std::string> gone_modules;  // patterns of modules that scripts still load
};

// The description in a file. UserErrors name the file, the key and what is allowed; an unknown key
// is one, with a suggestion.
Machine read_machine(const std::filesystem::path& file);

// By name (the launch kit that this program belongs to: ../launch of a build folder, ../share/weft/
// launch of an installed prefix) or by path (ends in .toml). UserError: lists the names there are.
Machine find_machine(const std::string& name_or_file);

// The machine that this run is on: what WEFT_MACHINE names, as job scripts set it; none where it is
// unset or empty.
std::optional<Machine> machine_of_run();

// As machine.toml, which read_machine() reads again to the same.
std::string machine_toml(const Machine& machine);

}  // namespace weft
