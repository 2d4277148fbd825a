#include "plan/job_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/shell_run.h"

namespace weft {
namespace {

// No larger than what can be multiplied.
std::optional<std::int64_t> count_of(const std::string& text) {
  if (text.empty() || text.size() > 9 || text.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  return whole_number(text);
}

// The numbers between colons.
std::optional<std::vector<double>> fields_of(const std::string& text) {
  std::vector<double> fields;
  for (const std::string& part : split(text, ':')) {
    const auto number = count_of(part);
    if (!number) return std::nullopt;
    fields.push_back(static_cast<double>(*number));
  }
  return fields;
}

void read_pbs(const JobScript& job, JobRequest& r) {
  r.account = job.find("A");
  r.queue = job.find("q");
  r.array_option = job.find("J");
  for (const JobOption& option : job.options) {
    if (option.name != "l") continue;
    for (const std::string& part : split(option.value, ',')) {
      if (part.empty()) continue;
      const std::size_t equals = part.find('=');
      const bool has = equals != std::string::npos;
      r.resources.push_back(
          {part.substr(0, equals), has ? part.substr(equals + 1) : "", option.line, has});
    }
  }
  for (const JobResource& resource : r.resources) {
    if (resource.name == "walltime") r.walltime = resource;
    if (resource.name == "select") r.select = resource;
    if (resource.name == "place") r.place = resource;
    if (resource.name == "filesystems") r.filesystems = resource;
  }
  if (r.walltime) r.walltime_s = pbs_seconds(r.walltime->value);
  if (!r.select) return;
  const auto chunks = parse_select(r.select->value, r.select->line);
  if (!chunks) return;
  r.chunks = *chunks;
  r.units = 0, r.slots = 0;
  for (const JobChunk& chunk : r.chunks) {
    *r.units += chunk.count;
    const JobResource* procs = chunk.find("mpiprocs");
    *r.slots += chunk.count * (procs ? count_of(procs->value).value_or(1) : 1);
  }
}

void read_slurm(const JobScript& job, const Machine& machine, JobRequest& r) {
  const auto number = [&](const char* name) {
    const JobOption* option = job.find(name);
    return option ? count_of(option->value) : std::nullopt;
  };
  r.account = job.find("account");
  r.queue = job.find(machine.scheduler.queue_is_qos ? "qos" : "partition");
  r.array_option = job.find("array");
  if (const JobOption* time = job.find("time")) {
    r.walltime = {"time", time->value, time->line, true};
    r.walltime_s = slurm_seconds(time->value);
  }
  r.tasks = number("ntasks"), r.tasks_per_node = number("ntasks-per-node");
  r.cpus_per_task = number("cpus-per-task");
  if (const JobOption* nodes = job.find("nodes")) {
    r.select = {"nodes", nodes->value, nodes->line, true};
    const std::string most = nodes->value.substr(nodes->value.find('-') + 1);
    r.units = count_of(most);
  } else if (r.tasks && r.tasks_per_node && *r.tasks_per_node > 0) {
    r.units = (*r.tasks + *r.tasks_per_node - 1) / *r.tasks_per_node;
    r.select = {"ntasks", job.find("ntasks")->value, job.find("ntasks")->line, true};
  }
  if (!r.tasks && r.units && r.tasks_per_node) r.tasks = *r.units * *r.tasks_per_node;
}

// Once the nodes are known.
void read_gpus(const JobScript& job, JobRequest& r) {
  for (const JobOption& o : job.options)
    if ((o.name.starts_with("gpus") || o.name == "gres") && !o.value.empty() &&
        o.value.find('$') == std::string::npos)
      for (JobGpus& g : parse_gpus(o)) r.gpus.push_back(std::move(g));
  const auto sum = [&](std::initializer_list<const char*> options) {
    std::optional<std::int64_t> all;
    for (const JobGpus& g : r.gpus)
      for (const char* option : options)
        if (g.option == option && g.other.empty() && g.count) all = all.value_or(0) + *g.count;
    return all;
  };
  const auto tasks = r.most_tasks_of_a_node();
  if (const auto node = sum({"gpus-per-node", "gres"}))
    r.gpus_per_node = node;
  else if (const auto task = sum({"gpus-per-task"}); task && tasks)
    r.gpus_per_node = *task * *tasks;
  else if (const auto whole = sum({"gpus"}); whole && r.nodes && *r.nodes > 0)
    r.gpus_per_node = (*whole + *r.nodes - 1) / *r.nodes;
}

}  // namespace

std::optional<std::int64_t> JobRequest::most_tasks_of_a_node() const {
  if (tasks_per_node) return tasks_per_node;
  if (tasks && nodes && *nodes > 0) return (*tasks + *nodes - 1) / *nodes;
  return std::nullopt;
}

const JobResource* JobChunk::find(const std::string& name) const {
  for (const JobResource& resource : resources)
    if (resource.name == name) return &resource;
  return nullptr;
}

std::optional<double> pbs_seconds(const std::string& text) {
  const std::size_t dot = text.find('.');  // a fraction of a second is allowed, and no matter
  const auto fields = fields_of(text.substr(0, dot));
  if (!fields || fields->size() > 3) return std::nullopt;
  if (dot != std::string::npos && !count_of(text.substr(dot + 1))) return std::nullopt;
  double seconds = 0;
  for (const double field : *fields) seconds = seconds * 60 + field;
  return seconds;
}

std::optional<double> slurm_seconds(const std::string& text) {
  const std::size_t dash = text.find('-');
  const auto fields = fields_of(text.substr(dash == std::string::npos ? 0 : dash + 1));
  if (!fields || fields->size() > 3) return std::nullopt;
  const std::vector<double>& f = *fields;
  const auto part = [&](std::size_t i) { return i < f.size() ? f[i] : 0.0; };
  if (dash != std::string::npos) {
    const auto days = count_of(text.substr(0, dash));
    if (!days) return std::nullopt;
    return static_cast<double>(*days) * 86400 + part(0) * 3600 + part(1) * 60 + part(2);
  }
  return f.size() == 3 ? f[0] * 3600 + f[1] * 60 + f[2] : f[0] * 60 + part(1);
}

std::optional<std::vector<JobChunk>> parse_select(const std::string& text, int line) {
  std::vector<JobChunk> chunks;
  for (const std::string& one : split(text, '+')) {
    JobChunk& chunk = chunks.emplace_back();
    const std::vector<std::string> parts = split(one, ':');
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const std::size_t equals = parts[i].find('=');
      if (i == 0 && equals == std::string::npos) {
        const auto count = count_of(parts[i]);
        if (!count || *count < 1 || *count > 1 << 24) return std::nullopt;
        chunk.count = *count;
      } else if (equals == std::string::npos || equals == 0 || equals + 1 == parts[i].size()) {
        return std::nullopt;
      } else {
        chunk.resources.push_back(
            {parts[i].substr(0, equals), parts[i].substr(equals + 1), line, true});
      }
    }
  }
  return chunks;
}

namespace {

constexpr std::int64_t kMostArray = 4'000'001;  // Slurm's largest MaxArraySize; PBS's is less

struct ArrayRange {
  std::int64_t first = 0, last = 0, step = 1;
};

// X or X-Y[:step]
std::optional<ArrayRange> parse_range(std::string text) {
  ArrayRange range;
  if (const std::size_t colon = text.find(':'); colon != std::string::npos) {
    const auto step = count_of(text.substr(colon + 1));
    if (!step || *step < 1 || text.find('-') == std::string::npos) return std::nullopt;
    range.step = *step;
    text.resize(colon);
  }
  const std::size_t dash = text.find('-');
  const auto first = count_of(text.substr(0, dash)),
             last = dash == std::string::npos ? first : count_of(text.substr(dash + 1));
  if (!first || !last || *first > *last || *last >= kMostArray) return std::nullopt;
  range.first = *first, range.last = *last;
  return range;
}

}  // namespace

std::optional<JobArray> parse_array(const std::string& text, SchedulerKind kind) {
  const bool slurm = kind == SchedulerKind::slurm;
  JobArray array;
  const std::size_t percent = text.find('%');
  if (percent != std::string::npos) {
    array.at_once = count_of(text.substr(percent + 1));
    if (!array.at_once || (*array.at_once < 1 && !slurm)) return std::nullopt;
    if (*array.at_once < 1) array.at_once.reset();
  }
  std::vector<bool> there;  // an index that is listed twice is one subjob
  const std::vector<std::string> parts = split(text.substr(0, percent), ',');
  for (const std::string& part : parts) {
    const auto range = parse_range(part);
    if (!range || (!slurm && (parts.size() > 1 || range->first == range->last)))
      return std::nullopt;
    there.resize(std::max(there.size(), static_cast<std::size_t>(range->last + 1)));
    for (std::int64_t i = range->first; i <= range->last; i += range->step)
      there[static_cast<std::size_t>(i)] = true;
  }
  array.width = std::count(there.begin(), there.end(), true);
  return array;
}

std::vector<JobGpus> parse_gpus(const JobOption& option) {
  std::vector<JobGpus> all;
  for (const std::string& entry : split(option.value, ',')) {
    JobGpus g;
    g.option = option.name, g.text = entry, g.line = option.line;
    std::vector<std::string> parts = split(entry, ':');
    if (option.name == "gres") {
      if (parts[0] == "gres" && parts.size() > 1) parts.erase(parts.begin());
      if (entry == "none") continue;
      if (parts[0] != "gpu" && !parts[0].empty()) {
        g.other = parts[0];
        all.push_back(g);
        continue;
      }
      parts.erase(parts.begin());
    }
    // A word that is no number is a type, of which there is one.
    const bool counted = !parts.empty() && whole_number(parts.back());
    g.count = counted ? count_of(parts.back()) : 1;
    if (counted) parts.pop_back();
    if (parts.size() == 1) g.type = parts[0];
    if (entry.empty() || entry.ends_with(":") || parts.size() > 1) g.count.reset();
    all.push_back(g);
  }
  return all;
}

std::optional<double> parse_bytes(const std::string& text) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = whole_number(text.substr(0, digits));
  if (!number) return std::nullopt;
  std::string unit = text.substr(digits);
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  static const std::string kUnits[] = {"", "k", "m", "g", "t", "p"};
  if (unit.ends_with('b') || unit.ends_with('w')) unit.pop_back();
  for (int power = 0; power < 6; ++power)
    if (unit == kUnits[power]) return static_cast<double>(*number) * std::pow(1024.0, power);
  return std::nullopt;
}

std::string clock_text(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds);
  return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

const MachineQueue* find_queue(const Machine& machine, const std::string& name) {
  for (const MachineQueue& queue : machine.queues)
    if (queue.name == name) return &queue;
  return nullptr;
}

JobRequest request_of(const JobScript& job, const Machine& machine) {
  JobRequest r;
  if (machine.scheduler.kind == SchedulerKind::slurm)
    read_slurm(job, machine, r);
  else
    read_pbs(job, r);
  if (r.array_option) r.array = parse_array(r.array_option->value, machine.scheduler.kind);
  if (r.queue) {
    r.in = find_queue(machine, r.queue->value.substr(0, r.queue->value.find('@')));
  } else {
    for (const MachineQueue& queue : machine.queues)
      if (queue.is_default) r.in = &queue;
  }
  r.nodes = r.units;
  if (r.units && r.in && r.in->unit == QueueUnit::gpu) r.nodes = 1;
  if (machine.scheduler.kind == SchedulerKind::slurm) read_gpus(job, r);
  return r;
}

}  // namespace weft
