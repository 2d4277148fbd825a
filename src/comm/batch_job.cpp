#include "comm/batch_job.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <map>

#include "core/system/deadline.h"

namespace weft {
namespace {

std::string text_of(const Environment& get, const char* name) {
  const char* text = get(name);
  return text ? text : "";
}

std::optional<double> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (error != std::errc() || end != text.end()) return std::nullopt;
  return static_cast<double>(value);
}

std::string_view trimmed(std::string_view text) {
  constexpr const char* kBlank = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// In the zone of this process, which is that of the programs it asks.
std::optional<double> local_time(std::string_view text, const char* format) {
  std::tm when{};
  when.tm_isdst = -1;
  const std::string copy(text);
  const char* end = strptime(copy.c_str(), format, &when);
  if (!end || *end != '\0') return std::nullopt;
  const std::time_t at = std::mktime(&when);
  return at == -1 ? std::nullopt : std::optional(static_cast<double>(at));
}

// "    Resource_List.walltime = 00:30:00"; a line that begins with a tab continues the one above.
std::map<std::string, std::string, std::less<>> qstat_attributes(std::string_view text) {
  std::map<std::string, std::string, std::less<>> all;
  std::string last;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t equals = line.find(" = ");
    if (line.starts_with('\t') && !last.empty()) {
      all[last] += trimmed(line);
    } else if (equals != std::string_view::npos) {
      last = trimmed(line.substr(0, equals));
      all[last] = trimmed(line.substr(equals + 3));
    }
  }
  return all;
}

void take_times(BatchJob& job, const JobTimes& times, const WallClock& now,
                const std::string& source) {
  if (times.walltime_s) job.walltime_s = times.walltime_s;
  job.left_s = left_of(times, now());
  if (job.left_s) job.source = source;
}

// PBS_WALLTIME counts from the job's begin, which was before this process's: that of its session
// is the nearest that is known.
void ask_pbs(BatchJob& job, const Environment& get, const AskProgram& ask, const WallClock& now) {
  const ProgramAnswer answer = ask({"qstat", "-f", job.id});
  if (answer.failure.empty())
    take_times(job, parse_qstat(answer.text), now, fmt::format("PBS job {} (qstat)", job.id));
  const auto walltime = parse_walltime(text_of(get, "PBS_WALLTIME"));
  if (job.left_s || !walltime) {
    job.failure = answer.failure.empty() ? "qstat does not say it" : "qstat: " + answer.failure;
    return;
  }
  job.walltime_s = walltime;
  job.left_s = *walltime - std::max(process_elapsed_s(), process_age_s(::getsid(0)).value_or(0.0));
  job.source = fmt::format("PBS job {} (PBS_WALLTIME)", job.id);
}

void ask_slurm(BatchJob& job, const Environment& get, const AskProgram& ask, const WallClock& now) {
  JobTimes times;
  times.begin = number(text_of(get, "SLURM_JOB_START_TIME"));
  times.end = number(text_of(get, "SLURM_JOB_END_TIME"));
  if (times.begin && times.end) times.walltime_s = *times.end - *times.begin;
  const auto of = [&](const char* who) { return fmt::format("Slurm job {} ({})", job.id, who); };
  if (times.end) return take_times(job, times, now, of("SLURM_JOB_END_TIME"));
  ProgramAnswer answer = ask({"squeue", "-h", "-j", job.id, "-o", "%l %L"});
  if (answer.failure.empty()) take_times(job, parse_squeue(answer.text), now, of("squeue"));
  if (job.left_s) return;
  job.failure = answer.failure.empty() ? "squeue does not say it" : "squeue: " + answer.failure;
  answer = ask({"scontrol", "-o", "show", "job", job.id});
  if (answer.failure.empty()) take_times(job, parse_scontrol(answer.text), now, of("scontrol"));
}

}  // namespace

std::optional<double> parse_slurm_time(std::string_view text) {
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos) return parse_walltime(text);
  const auto days = number(text.substr(0, dash));
  std::string rest(text.substr(dash + 1));  // H, H:M or H:M:S
  for (auto colons = std::count(rest.begin(), rest.end(), ':'); colons < 2; ++colons) rest += ":00";
  const auto seconds = parse_walltime(rest);
  if (!days || *days < 0 || !seconds) return std::nullopt;
  return *days * 86400 + *seconds;
}

JobTimes parse_qstat(std::string_view text) {
  JobTimes times;
  const auto all = qstat_attributes(text);
  const auto find = [&](std::string_view name) -> std::string_view {
    const auto at = all.find(name);
    return at == all.end() ? std::string_view() : at->second;
  };
  times.walltime_s = parse_walltime(find("Resource_List.walltime"));
  times.used_s = parse_walltime(find("resources_used.walltime"));
  for (const char* name : {"stime", "start_time"})
    if (const auto begin = local_time(find(name), "%a %b %d %T %Y")) times.begin = begin;
  return times;
}

JobTimes parse_squeue(std::string_view text) {
  JobTimes times;
  const std::string_view line = trimmed(text);
  const std::size_t blank = line.find(' ');
  if (blank == std::string_view::npos) return times;
  times.walltime_s = parse_slurm_time(line.substr(0, blank));
  times.left_s = parse_slurm_time(trimmed(line.substr(blank)));
  return times;
}

JobTimes parse_scontrol(std::string_view text) {
  JobTimes times;
  const auto find = [&](std::string_view name) -> std::string_view {
    for (std::size_t at = text.find(name); at != std::string_view::npos;
         at = text.find(name, at + 1))
      if (at == 0 || text[at - 1] == ' ') {
        const std::size_t begin = at + name.size();
        return text.substr(begin, text.find_first_of(" \n", begin) - begin);
      }
    return {};
  };
  times.walltime_s = parse_slurm_time(find("TimeLimit="));
  times.end = local_time(find("EndTime="), "%Y-%m-%dT%T");
  return times;
}

std::optional<double> left_of(const JobTimes& t, double now) {
  if (t.left_s) return t.left_s;
  std::vector<double> all;
  if (t.end) all.push_back(*t.end - now);
  if (t.walltime_s && t.begin && !t.end) all.push_back(*t.begin + *t.walltime_s - now);
  if (t.walltime_s && t.used_s) all.push_back(*t.walltime_s - *t.used_s);
  if (all.empty()) return std::nullopt;
  std::optional<double> soonest;
  for (const double left : all)
    if (left > 0) soonest = std::min(soonest.value_or(left), left);
  return soonest ? soonest : *std::max_element(all.begin(), all.end());
}

std::vector<BatchJob> find_batch_jobs(const Environment& get, const AskProgram& ask,
                                      const WallClock& now) {
  std::vector<BatchJob> jobs;
  const auto add = [&](const char* scheduler, const char* id, const char* queue,
                       const char* account, auto ask_it) {
    if (text_of(get, id).empty()) return;
    BatchJob& job = jobs.emplace_back();
    job.scheduler = scheduler;
    job.id = text_of(get, id);
    job.queue = text_of(get, queue);
    job.account = text_of(get, account);
    ask_it(job, get, ask, now);
    if (job.left_s) job.failure.clear();
  };
  add("pbs", "PBS_JOBID", "PBS_QUEUE", "PBS_ACCOUNT", ask_pbs);
  add("slurm", "SLURM_JOB_ID", "SLURM_JOB_PARTITION", "SLURM_JOB_ACCOUNT", ask_slurm);
  return jobs;
}

}  // namespace weft
