// What a job asks its scheduler for, as numbers; what is malformed is not there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan/job_script.h"

namespace weft {

// name=value of -l, of the whole job or of a chunk of select.
struct JobResource {
  std::string name, value;
  int line = 0;
  bool has_value = true;
};

struct JobChunk {
  std::int64_t count = 1;
  std::vector<JobResource> resources;
  const JobResource* find(const std::string& name) const;
};

struct JobArray {
  std::int64_t width = 0;               // subjobs
  std::optional<std::int64_t> at_once;  // %N
};

// GPUs that an option of Slurm asks for: one entry of its list.
struct JobGpus {
  std::string option, text;  // "gres", "gpu:a100:4"
  int line = 0;
  std::string type;                   // "a100"; empty: any
  std::optional<std::int64_t> count;  // none: malformed
  std::string other;                  // of --gres: another resource than GPUs
};

struct JobRequest {
  const JobOption* account = nullptr;  // of the script, as are the others
  const JobOption* queue = nullptr;
  std::vector<JobResource> resources;  // PBS: of the whole job, select and place included
  std::optional<JobResource> walltime, select, place, filesystems;
  std::optional<double> walltime_s;
  std::vector<JobChunk> chunks;       // of a well-formed select
  std::optional<std::int64_t> units;  // what the queue counts: nodes, or GPUs
  std::optional<std::int64_t> nodes;  // hosts
  std::optional<std::int64_t> slots;  // lines of PBS_NODEFILE
  std::optional<std::int64_t> tasks, tasks_per_node, cpus_per_task;  // Slurm
  std::vector<JobGpus> gpus;                                         // Slurm
  std::optional<std::int64_t> gpus_per_node;                         // what they come to
  const JobOption* array_option = nullptr;
  std::optional<JobArray> array;
  const MachineQueue* in = nullptr;  // the queue it goes to; null: none, or an unknown one

  std::optional<std::int64_t> most_tasks_of_a_node() const;  // Slurm's
};

JobRequest request_of(const JobScript& job, const Machine& machine);

// HH:MM:SS, MM:SS or seconds.
std::optional<double> pbs_seconds(const std::string& text);
// M, M:S, H:M:S, D-H, D-H:M, D-H:M:S.
std::optional<double> slurm_seconds(const std::string& text);
// [N:]name=value:…[+…]; none where it is malformed.
std::optional<std::vector<JobChunk>> parse_select(const std::string& text, int line);
// PBS: X-Y[:step][%N], X below Y. Slurm: a list of X and X-Y[:step], and %N; N of 0 is no limit.
std::optional<JobArray> parse_array(const std::string& text, SchedulerKind kind);
// What --gpus, --gpus-per-…, or --gres lists.
std::vector<JobGpus> parse_gpus(const JobOption& option);
// 512gb: bytes.
std::optional<double> parse_bytes(const std::string& text);

std::string clock_text(double seconds);  // "1:30:00"
const MachineQueue* find_queue(const Machine& machine, const std::string& name);

}  // namespace weft
