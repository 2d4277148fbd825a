// Rules about what a job asks for: who pays, how long, which nodes, what they have.
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "core/spelling.h"
#include "plan/lint_rules.h"

namespace weft {
namespace {

bool has_variable(const std::string& text) { return text.find('$') != std::string::npos; }

bool is_listed(const std::vector<std::string>& all, const std::string& word) {
  return std::find(all.begin(), all.end(), word) != all.end();
}

// A mistyped name is said as an unknown resource, not as a missing one too.
bool is_mistyped(const LintJob& job, const char* name) {
  const bool in_select = job.request.select && job.request.chunks.empty() &&
                         job.request.select->value.find(name) != std::string::npos;
  if (in_select) return true;  // select cannot be read for it
  return std::any_of(job.request.resources.begin(), job.request.resources.end(),
                     [&](const JobResource& r) { return near_miss(r.name, {name}).has_value(); });
}

void account(const LintJob& job) {
  if (!job.requires_("account") || job.request.account) return;
  const char* option = job.pbs() ? "A" : "account";
  if (job.meant_elsewhere(option)) return;
  job.error(job.first_line(),
            fmt::format("no project: {} refuses a job without one", job.machine.name),
            job.pbs() ? "#PBS -A PROJECT" : "#SBATCH --account=PROJECT");
}

void placeholder(const LintJob& job) {
  if (!job.request.account) return;
  std::string bare;
  for (const char c : job.request.account->value)
    if (std::isalnum(static_cast<unsigned char>(c)))
      bare += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const std::string& value = job.request.account->value;
  static const std::vector<std::string> kPlaceholders = {"project",
                                                         "projectname",
                                                         "yourproject",
                                                         "yourprojectname",
                                                         "myproject",
                                                         "account",
                                                         "youraccount",
                                                         "myaccount",
                                                         "accountname",
                                                         "allocation",
                                                         "yourallocation",
                                                         "myallocation",
                                                         "changeme",
                                                         "fillmein",
                                                         "todo",
                                                         "xxx",
                                                         "xxxx",
                                                         "projectid",
                                                         "shortprojectname",
                                                         "accountstring",
                                                         "projname",
                                                         "projectx",
                                                         "placeholder",
                                                         "p",
                                                         "m0000",
                                                         "mxxxx",
                                                         "alloc"};
  if (is_listed(kPlaceholders, bare) || value.find_first_of("<>") != std::string::npos)
    job.warning(job.request.account->line, fmt::format("the project is '{}', a placeholder", value),
                "your project's name");
}

void walltime(const LintJob& job) {
  if (!job.requires_("walltime") || job.request.walltime ||
      job.meant_elsewhere(job.pbs() ? "l" : "time", job.pbs() ? "walltime" : "") ||
      is_mistyped(job, "walltime"))
    return;
  job.error(job.first_line(),
            fmt::format("no walltime: {} refuses a job without one", job.machine.name),
            job.pbs() ? "#PBS -l walltime=HH:MM:SS" : "#SBATCH --time=HH:MM:SS");
}

void walltime_format(const LintJob& job) {
  const auto& w = job.request.walltime;
  if (!w || job.request.walltime_s.value_or(0) > 0 || has_variable(w->value)) return;
  if (w->value.empty()) return;  // said already
  const char* fix = job.pbs() ? "HH:MM:SS, MM:SS or seconds" : "HH:MM:SS, D-HH:MM:SS or minutes";
  if (!job.request.walltime_s)
    job.error(w->line, fmt::format("the walltime '{}' is none", w->value), fix);
  else
    job.error(w->line,
              fmt::format("a walltime of '{}' is {}", w->value,
                          job.pbs() ? "no time at all" : "a wish for no limit, which queues have"),
              fix);
}

void select(const LintJob& job) {
  if (!job.requires_("select") || job.request.select ||
      job.meant_elsewhere(job.pbs() ? "l" : "nodes", job.pbs() ? "select" : "") ||
      is_mistyped(job, "select"))
    return;
  for (const JobResource& r : job.request.resources)
    if (r.name == "nodes" || r.name == "nodect")
      return job.error(r.line,
                       fmt::format("'{}={}' is the old way to ask for nodes", r.name, r.value),
                       "select=N" + (job.machine.scheduler.system.empty()
                                         ? ""
                                         : ":system=" + job.machine.scheduler.system));
  job.error(job.first_line(), "nothing says how many nodes the job needs",
            !job.pbs() ? "#SBATCH --nodes=N"
            : job.machine.scheduler.system.empty()
                ? "#PBS -l select=N"
                : "#PBS -l select=N:system=" + job.machine.scheduler.system);
}

void select_format(const LintJob& job) {
  const auto& s = job.request.select;
  if (!s || has_variable(s->value)) return;
  if (!job.pbs()) {
    const std::size_t dash = s->value.find('-');
    const auto least = whole_number(s->value.substr(0, dash));
    if (!job.request.units || *job.request.units < 1 || !least)
      job.error(s->line, fmt::format("--{} is '{}'; it must be a whole number", s->name, s->value));
    else if (dash != std::string::npos && *least > *job.request.units)
      job.error(s->line,
                fmt::format("--{} is '{}': the least is above the most", s->name, s->value));
    return;
  }
  if (!job.request.chunks.empty()) return;
  job.error(s->line, fmt::format("select is '{}', which cannot be read", s->value),
            "select=N:name=value:…, chunks joined by +");
}

void resource(const LintJob& job) {
  const MachineScheduler& s = job.machine.scheduler;
  for (const JobResource& r : job.request.resources) {
    if (r.name == "nodes" || r.name == "nodect") {
      if (job.request.select)
        job.error(r.line, fmt::format("'{}' beside select is refused", r.name), "select alone");
      continue;
    }
    const bool of_chunk = is_listed(s.chunk_resources, r.name);
    if (!s.resources.empty() && !is_listed(s.resources, r.name)) {
      if (of_chunk)
        job.error(r.line, fmt::format("{} belongs to a chunk, not to the whole job", r.name),
                  fmt::format("select=N:{}={}", r.name, r.value));
      else
        job.error(r.line,
                  fmt::format("{} has no resource '{}'{}", job.machine.name, r.name,
                              suggestion(r.name, s.resources)),
                  fmt::format("{}", fmt::join(s.resources, ", ")));
    } else if (!r.has_value || r.value.empty()) {
      job.error(r.line, fmt::format("the resource {} has no value", r.name), r.name + "=…");
    }
  }
  for (const JobChunk& chunk : job.request.chunks)
    for (const JobResource& r : chunk.resources) {
      if (s.chunk_resources.empty() || is_listed(s.chunk_resources, r.name)) continue;
      if (is_listed(s.resources, r.name))
        job.error(r.line, fmt::format("{} belongs to the whole job, not to a chunk", r.name),
                  fmt::format("-l {}={}", r.name, r.value));
      else
        job.error(r.line,
                  fmt::format("a chunk on {} has no resource '{}'{}", job.machine.name, r.name,
                              suggestion(r.name, s.chunk_resources)),
                  fmt::format("{}", fmt::join(s.chunk_resources, ", ")));
    }
}

// What one chunk asks for of a node, where the node has less.
void more_than_a_node(const LintJob& job, const char* name, double most, const char* unit) {
  for (const JobChunk& chunk : job.request.chunks) {
    const JobResource* r = chunk.find(name);
    if (!r || has_variable(r->value)) continue;
    const auto plain = whole_number(r->value);
    std::optional<double> asked;
    if (*unit)
      asked = parse_bytes(r->value);
    else if (plain && *plain >= 0)
      asked = static_cast<double>(*plain);
    if (!asked)
      job.error(r->line, fmt::format("{} is '{}'; it must be a whole number{}", name, r->value,
                                     *unit ? " with a unit" : ""));
    else if (most > 0 && *asked > most)
      job.error(r->line,
                fmt::format("{}={} is more than a node of {} has, {:g}{}: the job never runs", name,
                            r->value, job.machine.name, *unit ? most / (1ll << 30) : most, unit),
                "it counts what one chunk needs, not the whole job");
  }
}

void ncpus(const LintJob& job) {
  const std::int64_t most = job.machine.scheduler.max_ncpus > 0 ? job.machine.scheduler.max_ncpus
                                                                : job.machine.node.hardware_threads;
  more_than_a_node(job, "ncpus", static_cast<double>(most), "");
}
void ngpus(const LintJob& job) {
  more_than_a_node(job, "ngpus", static_cast<double>(job.machine.node.gpus), "");
}
void chunk_memory(const LintJob& job) {
  more_than_a_node(job, "mem", job.machine.node.memory_gib * (1ll << 30), " GiB");
}

void processes(const LintJob& job) {
  for (const char* name : {"mpiprocs", "ompthreads"}) more_than_a_node(job, name, 0, "");
}

void system(const LintJob& job) {
  const std::string& mine = job.machine.scheduler.system;
  if (mine.empty()) return;
  for (const JobChunk& chunk : job.request.chunks)
    if (const JobResource* r = chunk.find("system"); r && r->value != mine)
      job.error(r->line,
                fmt::format("system={} is another machine than {}", r->value, job.machine.name),
                "system=" + mine);
}

void filesystems(const LintJob& job) {
  if (!job.requires_("filesystems") || job.request.filesystems ||
      job.meant_elsewhere("l", "filesystems") || is_mistyped(job, "filesystems"))
    return;
  job.error(
      job.first_line(),
      fmt::format("no filesystems: {} refuses a job that does not name those it needs",
                  job.machine.name),
      fmt::format("#PBS -l filesystems={}", fmt::join(job.machine.scheduler.file_systems, ":")));
}

const MachineFileSystem* find_file_system(const Machine& machine, const std::string& name) {
  for (const MachineFileSystem& f : machine.file_systems)
    if (f.name == name) return &f;
  return nullptr;
}

void filesystem(const LintJob& job) {
  const auto& allowed = job.machine.scheduler.file_systems;
  if (!job.request.filesystems || allowed.empty() || has_variable(job.request.filesystems->value))
    return;
  const std::string& value = job.request.filesystems->value;
  std::size_t at = 0;
  while (!value.empty() && at <= value.size()) {
    const std::size_t end = std::min(value.find(':', at), value.size());
    const std::string name = value.substr(at, end - at);
    at = end + 1;
    if (is_listed(allowed, name)) continue;
    const MachineFileSystem* known = find_file_system(job.machine, name);
    job.error(job.request.filesystems->line,
              known && known->gone
                  ? fmt::format("the file system {} is gone: the job never runs", name)
                  : fmt::format("{} has no file system '{}'{}", job.machine.name, name,
                                suggestion(name, allowed)),
              fmt::format("filesystems={}", fmt::join(allowed, ":")));
  }
}

void place_format(const LintJob& job) {
  const auto& place = job.request.place;
  if (!place || has_variable(place->value)) return;
  static const std::vector<std::string> kWords = {"free", "pack",   "scatter", "vscatter",
                                                  "excl", "shared", "exclhost"};
  std::size_t at = 0;
  while (!place->value.empty() && at <= place->value.size()) {
    const std::size_t end = std::min(place->value.find(':', at), place->value.size());
    const std::string word = place->value.substr(at, end - at);
    at = end + 1;
    if (is_listed(kWords, word) || (word.starts_with("group=") && word.size() > 6)) continue;
    job.error(place->line, fmt::format("place has no '{}'{}", word, suggestion(word, kWords)),
              fmt::format("{}, group=RESOURCE", fmt::join(kWords, ", ")));
  }
}

void place(const LintJob& job) {
  const JobRequest& r = job.request;
  if (!job.pbs() || !r.nodes || *r.nodes < 2) return;
  if (!r.place && !job.meant_elsewhere("l", "place"))
    job.warning(r.select->line, fmt::format("{} chunks may share a node", *r.units),
                "#PBS -l place=scatter");
  else if (r.place && r.place->value.starts_with("free"))
    job.warning(r.place->line, fmt::format("place=free: {} chunks may share a node", *r.units),
                "#PBS -l place=scatter");
  else if (r.place && r.place->value.starts_with("pack"))
    job.warning(r.place->line, fmt::format("place=pack puts all {} chunks on one node", *r.units),
                "#PBS -l place=scatter");
}

void constraint(const LintJob& job) {
  if (job.pbs()) return;
  const JobOption* o = job.script.find("constraint");
  const auto& allowed = job.machine.scheduler.constraints;
  if (!o && job.requires_("constraint") && !job.meant_elsewhere("constraint"))
    job.error(job.first_line(),
              fmt::format("no --constraint: {} refuses a job without one", job.machine.name),
              fmt::format("--constraint={}", fmt::join(allowed, ", or ")));
  else if (o && !allowed.empty() && !is_listed(allowed, o->value) && !has_variable(o->value))
    job.error(o->line,
              fmt::format("--constraint is '{}'; allowed: {}", o->value, fmt::join(allowed, ", ")));
}

// Entries of one name and several values: `shown` is before the name.
template <class Entry>
void given_twice(const LintJob& job, const std::vector<Entry>& all, const std::string& shown) {
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (all[i].name == all[j].name && all[i].value != all[j].value) {
        job.warning(all[i].line,
                    fmt::format("{}{} is given twice: {} in line {}", shown, all[i].name,
                                all[j].value, all[j].line),
                    "one of them");
        break;
      }
}

void duplicate(const LintJob& job) {
  given_twice(job, job.request.resources, "");
  for (const JobChunk& chunk : job.request.chunks) given_twice(job, chunk.resources, "");
  std::vector<JobOption> single;  // -l and -W add up
  for (const JobOption& o : job.script.options)
    if (o.name != "l" && o.name != "W") single.push_back(o);
  given_twice(job, single, job.pbs() ? "-" : "--");
}

constexpr LintRule kRules[] = {{"account", account},
                               {"placeholder", placeholder},
                               {"walltime", walltime},
                               {"walltime-format", walltime_format},
                               {"select", select},
                               {"select-format", select_format},
                               {"resource", resource},
                               {"ncpus", ncpus},
                               {"ngpus", ngpus},
                               {"chunk-memory", chunk_memory},
                               {"processes", processes},
                               {"system", system},
                               {"filesystems", filesystems},
                               {"filesystem", filesystem},
                               {"place-format", place_format},
                               {"place", place},
                               {"constraint", constraint},
                               {"duplicate", duplicate}};

}  // namespace

std::span<const LintRule> resource_rules() { return kRules; }

}  // namespace weft
