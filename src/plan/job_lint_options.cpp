// Rules about single options of directives.
#include <algorithm>
#include <filesystem>

#include "core/spelling.h"
#include "plan/lint_rules.h"

namespace weft {
namespace {

const std::vector<std::string>& slurm_options() {
  static const std::vector<std::string> all = {"account",
                                               "array",
                                               "batch",
                                               "bb",
                                               "bbf",
                                               "begin",
                                               "chdir",
                                               "cluster-constraint",
                                               "clusters",
                                               "comment",
                                               "constraint",
                                               "container",
                                               "contiguous",
                                               "core-spec",
                                               "cores-per-socket",
                                               "cpu-freq",
                                               "cpus-per-gpu",
                                               "cpus-per-task",
                                               "deadline",
                                               "delay-boot",
                                               "dependency",
                                               "distribution",
                                               "error",
                                               "exclude",
                                               "exclusive",
                                               "export",
                                               "export-file",
                                               "extra-node-info",
                                               "get-user-env",
                                               "gid",
                                               "gpu-bind",
                                               "gpu-freq",
                                               "gpus",
                                               "gpus-per-node",
                                               "gpus-per-socket",
                                               "gpus-per-task",
                                               "gres",
                                               "gres-flags",
                                               "hint",
                                               "hold",
                                               "image",
                                               "input",
                                               "job-name",
                                               "kill-on-invalid-dep",
                                               "licenses",
                                               "mail-type",
                                               "mail-user",
                                               "mcs-label",
                                               "mem",
                                               "mem-bind",
                                               "mem-per-cpu",
                                               "mem-per-gpu",
                                               "mincpus",
                                               "module",
                                               "network",
                                               "nice",
                                               "no-kill",
                                               "no-requeue",
                                               "nodefile",
                                               "nodelist",
                                               "nodes",
                                               "ntasks",
                                               "ntasks-per-core",
                                               "ntasks-per-gpu",
                                               "ntasks-per-node",
                                               "ntasks-per-socket",
                                               "open-mode",
                                               "output",
                                               "overcommit",
                                               "oversubscribe",
                                               "parsable",
                                               "partition",
                                               "perf",
                                               "power",
                                               "prefer",
                                               "priority",
                                               "profile",
                                               "propagate",
                                               "qos",
                                               "quiet",
                                               "reboot",
                                               "requeue",
                                               "reservation",
                                               "signal",
                                               "sockets-per-node",
                                               "spread-job",
                                               "switches",
                                               "test-only",
                                               "thread-spec",
                                               "threads-per-core",
                                               "time",
                                               "time-min",
                                               "tmp",
                                               "tres-per-task",
                                               "uid",
                                               "use-min-nodes",
                                               "verbose",
                                               "volume",
                                               "wait",
                                               "wait-all-nodes",
                                               "wckey",
                                               "wrap"};
  return all;
}

void option(const LintJob& job) {
  constexpr std::string_view kPbs = "AaCcefhIJjkLlMmNopPqrRSuvVWXz";
  for (const JobOption& o : job.script.options) {
    const std::string shown =
        job.pbs() ? (o.name.starts_with("-") ? o.name : "-" + o.name) : "--" + o.name;
    const auto& known = slurm_options();
    const bool is_known = job.pbs()
                              ? o.name.size() == 1 && kPbs.find(o.name[0]) != std::string::npos
                              : std::find(known.begin(), known.end(), o.name) != known.end();
    if (!is_known && job.pbs())
      job.error(o.line, fmt::format("qsub has no option {}", shown),
                o.name.starts_with("--") ? "PBS's options have one dash and one letter" : "");
    else if (!is_known && !suggestion(o.name, known).empty())
      job.error(o.line, fmt::format("sbatch has no option {}{}", shown, suggestion(o.name, known)));
    else if (!is_known)
      job.note(o.line, fmt::format("{} is not an option that is known here", shown));
    else if (o.takes_value && o.value.empty())
      job.error(o.line, fmt::format("{} has no value", shown));
  }
}

// Directives are not read by a shell.
void variable(const LintJob& job) {
  for (const JobOption& o : job.script.options) {
    if (o.value.find('$') == std::string::npos || o.name == "v" || o.name == "export" ||
        o.name == "wrap")
      continue;
    const bool path = o.name == "o" || o.name == "e" || o.name == "output" || o.name == "error";
    const std::string text =
        fmt::format("'{}': {} does not expand variables in directives", o.value, job.scheduler());
    if (path)
      job.warning(o.line, text,
                  job.pbs() ? "a plain path; a folder gets a file named by the job"
                            : "%j stands for the job's number");
    else
      job.error(o.line, text,
                fmt::format("write the value, or give the option to {} on its command line",
                            job.pbs() ? "qsub" : "sbatch"));
  }
}

void value(const LintJob& job) {
  if (!job.pbs()) return;
  const auto one_of = [&](const char* name, std::vector<std::string> allowed) {
    const JobOption* o = job.script.find(name);
    if (!o || o->value.empty() || o->value.find('$') != std::string::npos) return;
    if (std::find(allowed.begin(), allowed.end(), o->value) != allowed.end()) return;
    std::string list;
    for (const std::string& word : allowed) list += (list.empty() ? "" : ", ") + word;
    job.error(o->line, fmt::format("-{} is '{}'; allowed: {}", name, o->value, list));
  };
  one_of("j", {"oe", "eo", "n"});
  one_of("r", {"y", "n"});
  const JobOption* mail = job.script.find("m");
  if (mail && mail->value.find_first_not_of("abejn") != std::string::npos)
    job.error(mail->line,
              fmt::format("-m is '{}'; allowed: letters of a, b, e, j, or n", mail->value));
  const JobOption* name = job.script.find("N");
  if (name && !name->value.empty() && !std::isalnum(static_cast<unsigned char>(name->value[0])) &&
      name->value.find('$') == std::string::npos)
    job.error(name->line,
              fmt::format("-N is '{}'; a name begins with a letter or a digit", name->value));
  else if (name && name->value.find_first_of("/*?@ ") != std::string::npos)
    job.error(name->line,
              fmt::format("-N is '{}'; a name has no blank, slash, *, ? or @", name->value));
  if (name && name->value.size() > 236)
    job.error(name->line, fmt::format("-N has {} characters; allowed: 236", name->value.size()));
  if (const JobOption* priority = job.script.find("p");
      priority && priority->value.find('$') == std::string::npos) {
    const bool below = priority->value.starts_with("-");
    const auto n = whole_number(priority->value.substr(below || priority->value.starts_with("+")));
    if (!priority->value.empty() && (!n || *n > (below ? 1024 : 1023)))
      job.error(priority->line, fmt::format("-p is '{}'; allowed: -1024 to 1023", priority->value));
  }
  if (const JobOption* begin = job.script.find("a"); begin && !begin->value.empty()) {
    const std::size_t dot = std::min(begin->value.find('.'), begin->value.size());
    const std::string date = begin->value.substr(0, dot);
    const bool digits = date.find_first_not_of("0123456789") == std::string::npos &&
                        date.size() >= 4 && date.size() <= 12 && date.size() % 2 == 0;
    if (!digits && date.find('$') == std::string::npos)
      job.error(begin->line,
                fmt::format("-a is '{}'; allowed: [[[[CC]YY]MM]DD]hhmm[.SS]", begin->value));
  }
  if (const JobOption* mark = job.script.find("C"); mark && !mark->value.empty())
    job.note(mark->line, fmt::format("not understood: -C {}: lines that begin so were not read as "
                                     "directives",
                                     mark->value));
  if (const JobOption* interactive = job.script.find("I"))
    job.warning(interactive->line, "-I is for interactive jobs: a script is then not run",
                "remove it");
}

void keep(const LintJob& job) {
  const std::string& allowed = job.machine.scheduler.keep_files;
  const JobOption* o = job.pbs() ? job.script.find("k") : nullptr;
  if (!o || allowed.empty()) return;
  std::string a = o->value, b = allowed;
  std::sort(a.begin(), a.end()), std::sort(b.begin(), b.end());
  if (a != b)
    job.error(
        o->line,
        fmt::format("-k is '{}'; {} takes no other than {}", o->value, job.machine.name, allowed),
        fmt::format("-k {}, or nothing", allowed));
}

void rerun(const LintJob& job) {
  const JobOption* o = job.script.find(job.pbs() ? "r" : "requeue");
  const bool preempted = job.request.in && job.request.in->preemptable;
  if (!job.pbs() && job.script.find("no-requeue")) return;
  if (!o && job.meant_elsewhere(job.pbs() ? "r" : "requeue")) return;
  if (!o)
    job.warning(
        job.first_line(),
        "nothing says whether the job may run again after a node fails or it is preempted",
        job.pbs() ? "#PBS -r y (weft goes on from its newest checkpoint)" : "#SBATCH --requeue");
  else if (job.pbs() && o->value == "n" && job.request.array_option)
    job.error(o->line, "-r n: qsub refuses an array that may not run again", "#PBS -r y");
  else if (job.pbs() && o->value == "n" && preempted)
    job.warning(o->line,
                fmt::format("-r n: a job that queue {} preempts is lost", job.request.in->name),
                "#PBS -r y");
}

// Whether the path lies in a file system of the machine that is not here: nobody can look.
bool of_machine(const LintJob& job, const std::string& path) {
  std::error_code error;
  for (const MachineFileSystem& f : job.machine.file_systems)
    if (!f.path.empty() && path.starts_with(f.path + "/"))
      return !f.gone && !std::filesystem::exists(f.path, error);
  return path.starts_with("/lus/") && !std::filesystem::exists("/lus", error);
}

void output_folder(const LintJob& job) {
  namespace fs = std::filesystem;
  for (const char* name : {"o", "e", "output", "error"}) {
    const JobOption* o = job.script.find(name);
    if (!o || o->value.find_first_of("$^%~") != std::string::npos) continue;
    fs::path path =
        o->value.substr(o->value.rfind(':') == std::string::npos ? 0 : o->value.rfind(':') + 1);
    if (path.is_relative()) path = fs::path(job.settings.folder) / path;
    const bool folder = o->value.ends_with("/");
    const fs::path parent = folder ? path : path.parent_path();
    std::error_code error;
    if (fs::exists(parent, error) || of_machine(job, parent.string())) continue;
    job.warning(o->line,
                fmt::format("the folder {} of -{} is not there: {} makes none, and the "
                            "job is held",
                            parent.string(), name, job.scheduler()),
                "mkdir -p " + parent.string());
  }
}

constexpr LintRule kRules[] = {{"option", option},      {"directive-variable", variable},
                               {"option-value", value}, {"keep", keep},
                               {"rerun", rerun},        {"output-folder", output_folder}};

}  // namespace

std::span<const LintRule> option_rules() { return kRules; }

}  // namespace weft
