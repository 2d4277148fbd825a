// Rules about single options of directives.
#include <algorithm>
#include <filesystem>
#include <set>

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
      job.error(o.line, text, "write the value, or give the option to qsub on its command line");
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

struct Dependency {
  int line;
  std::string value;  // afterok:123
};

// Of directives, and of qsub's and sbatch's in the script.
std::vector<Dependency> dependencies(const LintJob& job) {
  std::vector<Dependency> all;
  const auto attribute = [&](int line, const std::string& text) {
    for (std::size_t at = 0; at < text.size();) {  // depend=…,umask=…
      const std::size_t found = text.find("depend=", at);
      if (found == std::string::npos) return;
      all.push_back({line, text.substr(found + 7)});
      at = text.size();
    }
  };
  for (const JobOption& o : job.script.options) {
    if (job.pbs() && o.name == "W") attribute(o.line, o.value);
    if (!job.pbs() && o.name == "dependency") all.push_back({o.line, o.value});
  }
  for (const RanCommand& c : job.run.commands) {
    if (c.words[0] != "qsub" && c.words[0] != "sbatch") continue;
    for (std::size_t i = 1; i < c.words.size(); ++i) {
      const std::string& word = c.words[i];
      if (word.starts_with("--dependency="))
        all.push_back({c.line, word.substr(13)});
      else if ((word == "-d" || word == "--dependency") && i + 1 < c.words.size())
        all.push_back({c.line, c.words[i + 1]});
      else if (word.starts_with("depend=") || word.starts_with("-Wdepend="))
        attribute(c.line, word);
    }
  }
  return all;
}

void depend(const LintJob& job) {
  static const std::set<std::string> kTypes = {
      "after",       "afterok",         "afternotok", "afterany", "before",    "beforeok",
      "beforenotok", "beforeany",       "on",         "runone",   "singleton", "aftercorr",
      "expand",      "afterburstbuffer"};
  for (const Dependency& d : dependencies(job)) {
    if (d.value.find('$') != std::string::npos) continue;  // a directive's variable: said already
    const std::size_t colon = d.value.find(':');
    const std::string type = d.value.substr(0, colon);
    if (!is_known(type)) continue;
    const std::vector<std::string> names(kTypes.begin(), kTypes.end());
    if (!kTypes.contains(type))
      job.error(d.line,
                fmt::format("'{}' is no kind of dependency{}", type, suggestion(type, names)),
                "-W depend=afterany:JOB");
    else if (type != "singleton" && (colon == std::string::npos || colon + 1 == d.value.size()))
      job.error(d.line, fmt::format("the dependency {} names no job", type),
                fmt::format("{}:JOB", type));
  }
}

void chain_afterok(const LintJob& job) {
  for (const Dependency& d : dependencies(job))
    if (d.value.starts_with("afterok"))
      job.warning(d.line,
                  "a chain by afterok ends at the first job that reaches its walltime: that counts "
                  "as failed, and what depends on it is never run",
                  "afterany, as weft goes on from its newest checkpoint");
}

// A job that queues the next one while it runs, in a queue of one job a user.
void chain_queue(const LintJob& job) {
  if (!job.request.in || job.request.in->jobs_per_user != 1) return;
  for (const RanCommand& c : job.run.commands) {
    if (c.words[0] != "qsub" && c.words[0] != "sbatch") continue;
    bool elsewhere = false;
    for (std::size_t i = 1; i + 1 < c.words.size(); ++i)
      elsewhere |= c.words[i] == "-q" && c.words[i + 1] != job.request.in->name;
    if (!elsewhere)
      job.error(c.line,
                fmt::format("queue {} takes one job of a user, queued or running: a job cannot "
                            "queue its next there",
                            job.request.in->name),
                "another queue");
  }
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

constexpr LintRule kRules[] = {{"option", option},
                               {"directive-variable", variable},
                               {"option-value", value},
                               {"keep", keep},
                               {"depend", depend},
                               {"chain-afterok", chain_afterok},
                               {"chain-queue", chain_queue},
                               {"rerun", rerun},
                               {"output-folder", output_folder}};

}  // namespace

std::span<const LintRule> option_rules() { return kRules; }

}  // namespace weft
