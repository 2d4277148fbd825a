// Rules about queues: their limits in nodes (or GPUs), time and width.
#include <fmt/ranges.h>

#include <algorithm>

#include "core/spelling.h"
#include "plan/lint_rules.h"

namespace weft {
namespace {

std::string units(const MachineQueue& queue, std::int64_t n) {
  return counted(n, queue.unit == QueueUnit::gpu ? "GPU" : "node");
}

std::string range(const MachineQueue& queue) {
  if (!queue.allowed.empty()) return fmt::format("{}", fmt::join(queue.allowed, ", "));
  return queue.max > 0 ? fmt::format("{} to {}", queue.min, queue.max)
                       : fmt::format("{} or more", queue.min);
}

bool fits(const MachineQueue& queue, std::int64_t n) {
  if (!queue.allowed.empty())
    return std::find(queue.allowed.begin(), queue.allowed.end(), n) != queue.allowed.end();
  return n >= queue.min && (queue.max == 0 || n <= queue.max);
}

bool fits_in_time(const MachineQueue& queue, double seconds) {
  return seconds >= queue.min_walltime_s &&
         (queue.max_walltime_s == 0 || seconds <= queue.max_walltime_s);
}

std::vector<std::string> usable(const Machine& machine) {
  std::vector<std::string> names;
  for (const MachineQueue& queue : machine.queues)
    if (queue.direct && queue.available) names.push_back(queue.name);
  return names;
}

// Queues that would take the job as it is.
std::string takers(const LintJob& job) {
  std::vector<std::string> names;
  for (const MachineQueue& queue : job.machine.queues) {
    if (!queue.direct || !queue.available || !queue.routes_to.empty()) continue;
    const bool enough = !job.request.units ||
                        (fits(queue, *job.request.units) && queue.unit == job.request.in->unit);
    if (enough && (!job.request.walltime_s || fits_in_time(queue, *job.request.walltime_s)))
      names.push_back(queue.name);
  }
  return names.empty() ? "" : fmt::format("; as it is, it fits {}", fmt::join(names, ", "));
}

void queue(const LintJob& job) {
  const JobOption* asked = job.request.queue;
  if (job.machine.queues.empty() || job.request.in) return;
  if (!asked) {
    if (job.requires_("queue") && !job.meant_elsewhere(job.pbs() ? "q" : "qos"))
      job.error(job.first_line(), "no queue is named",
                fmt::format("{}", fmt::join(usable(job.machine), ", ")));
    return;
  }
  if (asked->value.empty() || asked->value.find('$') != std::string::npos) return;
  if (asked->value[0] == 'R' || asked->value[0] == 'M') {  // a reservation's
    if (asked->value.find_first_of("0123456789") != std::string::npos)
      return job.note(asked->line, fmt::format("queue {} may be a reservation's: its limits are "
                                               "not known here",
                                               asked->value));
  }
  job.error(asked->line,
            fmt::format("{} has no queue '{}'{}", job.machine.name, asked->value,
                        suggestion(asked->value, usable(job.machine))),
            fmt::format("{}", fmt::join(usable(job.machine), ", ")));
}

void unavailable(const LintJob& job) {
  const MachineQueue* q = job.request.in;
  if (!q || !job.request.queue) return;
  const int line = job.request.queue->line;
  if (!q->available)
    return job.error(
        line,
        fmt::format("queue {} takes no jobs{}", q->name, q->note.empty() ? "" : ": " + q->note),
        fmt::format("{}", fmt::join(usable(job.machine), ", ")));
  if (q->direct) return;
  std::string from;
  for (const MachineQueue& other : job.machine.queues)
    if (std::find(other.routes_to.begin(), other.routes_to.end(), q->name) != other.routes_to.end())
      from = other.name;
  job.error(line, fmt::format("jobs cannot name queue {}: {} sends them there", q->name, from),
            "-q " + from);
}

bool checked(const LintJob& job) {
  const MachineQueue* q = job.request.in;
  return q && q->direct && q->available;
}

void size(const LintJob& job) {
  const JobRequest& r = job.request;
  if (!checked(job) || !r.units || fits(*r.in, *r.units)) return;
  const bool gpus = r.in->unit == QueueUnit::gpu;
  job.error(r.select->line,
            fmt::format("{} in queue {}{}; allowed: {}", units(*r.in, *r.units), r.in->name,
                        gpus ? ", which counts GPUs of one node" : "", range(*r.in)),
            fmt::format("another number, or another queue{}", takers(job)));
}

void time(const LintJob& job) {
  const JobRequest& r = job.request;
  if (!checked(job) || r.walltime_s.value_or(0) <= 0 || fits_in_time(*r.in, *r.walltime_s)) return;
  const bool short_ = *r.walltime_s < r.in->min_walltime_s;
  job.error(r.walltime->line,
            fmt::format("a walltime of {} ('{}') in queue {}; allowed: {} to {}",
                        clock_text(*r.walltime_s), r.walltime->value, r.in->name,
                        clock_text(r.in->min_walltime_s), clock_text(r.in->max_walltime_s)),
            short_ ? "HH:MM:SS (two fields are minutes and seconds)"
                   : fmt::format("a shorter one, or another queue{}", takers(job)));
}

// A routing queue takes what none of its queues does, and drops it.
void route(const LintJob& job) {
  const JobRequest& r = job.request;
  if (!checked(job) || r.in->routes_to.empty() || !r.units || !r.walltime_s) return;
  if (!fits(*r.in, *r.units) || !fits_in_time(*r.in, *r.walltime_s)) return;
  std::string ranges;
  for (const std::string& name : r.in->routes_to) {
    const MachineQueue* to = find_queue(job.machine, name);
    if (!to) continue;
    if (fits(*to, *r.units) && fits_in_time(*to, *r.walltime_s)) return;
    ranges +=
        fmt::format("{}{} {}: up to {}", ranges.empty() ? "" : "; ", range(*to),
                    to->unit == QueueUnit::gpu ? "GPUs" : "nodes", clock_text(to->max_walltime_s));
  }
  job.error(
      r.walltime->line,
      fmt::format("queue {} would drop the job in silence: no queue behind it takes {} for {}",
                  r.in->name, units(*r.in, *r.units), clock_text(*r.walltime_s)),
      ranges);
}

void advised(const LintJob& job) {
  const JobRequest& r = job.request;
  if (checked(job) && r.units && r.in->advised_max > 0 && *r.units > r.in->advised_max &&
      fits(*r.in, *r.units))
    job.warning(r.select->line,
                fmt::format("{}: some are always down, and the job may wait for ever",
                            units(*r.in, *r.units)),
                fmt::format("{} at most", r.in->advised_max));
}

void array_format(const LintJob& job) {
  const JobOption* o = job.request.array_option;
  if (!o || job.request.array || o->value.find('$') != std::string::npos) return;
  if (!o->value.empty())
    job.error(o->line, fmt::format("the array is '{}', which cannot be read", o->value),
              job.pbs() ? "FIRST-LAST, FIRST-LAST:STEP, each with %N at once"
                        : "a list of N, FIRST-LAST and FIRST-LAST:STEP, with %N at once");
}

void array_width(const LintJob& job) {
  const JobRequest& r = job.request;
  if (!checked(job) || !r.array || r.in->max_array_running == 0) return;
  const std::int64_t most = r.in->max_array_running,
                     at_once = std::min(r.array->at_once.value_or(r.array->width), r.array->width);
  if (at_once <= most) return;
  job.error(
      r.array_option->line,
      fmt::format("{} of {} subjobs may run at once, but queue {} takes {}: the array never "
                  "runs",
                  at_once, r.array->width, r.in->name, most),
      fmt::format("{}%{}", r.array_option->value.substr(0, r.array_option->value.find('%')), most));
}

constexpr LintRule kRules[] = {{"queue", queue},
                               {"queue-unavailable", unavailable},
                               {"queue-size", size},
                               {"queue-walltime", time},
                               {"queue-route", route},
                               {"queue-advice", advised},
                               {"array-format", array_format},
                               {"array-width", array_width}};

}  // namespace

std::span<const LintRule> queue_rules() { return kRules; }

}  // namespace weft
