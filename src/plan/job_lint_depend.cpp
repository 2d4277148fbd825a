// Rules about what a job waits for: chains of jobs, in directives and in what the script queues
// itself, and the other attributes of qsub's -W.
#include <algorithm>
#include <cctype>

#include "core/spelling.h"
#include "plan/lint_rules.h"

namespace weft {
namespace {

bool has_variable(const std::string& text) { return text.find('$') != std::string::npos; }

struct Attribute {
  int line;
  std::string name, value;
};

// name=value,…: a part without = goes on with the value before it (depend=afterok:1,afterany:2).
std::vector<Attribute> attributes_in(int line, const std::string& text) {
  std::vector<Attribute> all;
  for (const std::string& part : split(text, ',')) {
    const std::size_t equals = part.find('=');
    const bool goes_on = !part.empty() && !all.empty() && !all.back().value.empty();
    if (equals == std::string::npos && goes_on)
      all.back().value += "," + part;
    else
      all.push_back({line, part.substr(0, equals),
                     equals == std::string::npos ? "" : part.substr(equals + 1)});
  }
  return all;
}

// Of -W, in directives.
std::vector<Attribute> attributes(const LintJob& job) {
  std::vector<Attribute> all;
  if (!job.pbs()) return all;
  for (const JobOption& o : job.script.options)
    if (o.name == "W")
      for (Attribute& a : attributes_in(o.line, o.value)) all.push_back(std::move(a));
  return all;
}

void attribute(const LintJob& job) {
  static const std::vector<std::string> kKnown = {"depend",
                                                  "group_list",
                                                  "umask",
                                                  "block",
                                                  "stagein",
                                                  "stageout",
                                                  "sandbox",
                                                  "run_count",
                                                  "interactive",
                                                  "create_resv_from_job",
                                                  "Keep_Files",
                                                  "Join_Path",
                                                  "tolerate_node_failures",
                                                  "release_nodes_on_stageout",
                                                  "exec_wait_timeout",
                                                  "pwd",
                                                  "project",
                                                  "estimated",
                                                  "max_run_subjobs"};
  for (const Attribute& a : attributes(job)) {
    if (a.name.empty()) {
      job.error(a.line, "-W has a part that is empty", "-W name=value,name=value");
    } else if (std::find(kKnown.begin(), kKnown.end(), a.name) == kKnown.end()) {
      const std::string near = suggestion(a.name, kKnown);
      if (near.empty())
        job.note(a.line, fmt::format("not understood: -W {}; nothing of it was checked", a.name));
      else
        job.error(a.line, fmt::format("qsub has no attribute {}{}", a.name, near));
    } else if (a.value.empty()) {
      job.error(a.line, fmt::format("-W {} has no value", a.name), a.name + "=…");
    } else if (a.name == "group_list") {
      job.note(a.line, fmt::format("-W group_list={}: which groups you are of is not known here, "
                                   "and it names no allocation: that is -A",
                                   a.value));
    }
  }
}

struct Dependency {
  int line;
  std::string value;  // afterok:123, of which there may be several in one option
  bool own;           // of this job; else of one that it queues
};

// afterok:1:2,afterany:3 (Slurm's ? means "or").
void add_dependencies(std::vector<Dependency>& all, int line, const std::string& list, bool own) {
  std::string text = list;
  std::replace(text.begin(), text.end(), '?', ',');
  for (const std::string& one : split(text, ',')) all.push_back({line, one, own});
}

// Of directives, and of qsub's and sbatch's in the script.
std::vector<Dependency> dependencies(const LintJob& job) {
  std::vector<Dependency> all;
  const auto of_attributes = [&](const std::vector<Attribute>& attributes, bool own) {
    for (const Attribute& a : attributes)
      if (a.name == "depend" && !a.value.empty()) add_dependencies(all, a.line, a.value, own);
  };
  of_attributes(attributes(job), true);
  for (const JobOption& o : job.script.options)
    if (!job.pbs() && o.name == "dependency" && !o.value.empty())
      add_dependencies(all, o.line, o.value, true);
  for (const RanCommand& c : job.run.commands) {
    if (c.words[0] != "qsub" && c.words[0] != "sbatch") continue;
    for (std::size_t i = 1; i < c.words.size(); ++i) {
      const std::string& word = c.words[i];
      if (word.starts_with("--dependency="))
        add_dependencies(all, c.line, word.substr(13), false);
      else if ((word == "-d" || word == "--dependency") && i + 1 < c.words.size())
        add_dependencies(all, c.line, c.words[i + 1], false);
      else if (word.starts_with("depend="))
        of_attributes(attributes_in(c.line, word), false);
      else if (word.starts_with("-Wdepend="))
        of_attributes(attributes_in(c.line, word.substr(2)), false);
    }
  }
  return all;
}

// 123, 123[], 123[4].server, 123.server@server; Slurm: 123, 123_4, 123+10.
bool is_job_id(const std::string& text, bool pbs) {
  std::size_t at = 0;
  while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at]))) ++at;
  if (at == 0) return false;
  if (at == text.size()) return true;
  if (pbs) return text[at] == '[' || text[at] == '.' || text[at] == '@';
  return (text[at] == '_' || text[at] == '+') && at + 1 < text.size();
}

void depend(const LintJob& job) {
  static const std::vector<std::string> kPbs = {"after",  "afterok",  "afternotok",  "afterany",
                                                "before", "beforeok", "beforenotok", "beforeany",
                                                "on",     "runone"},
                                        kSlurm = {"after",    "afterok",          "afternotok",
                                                  "afterany", "afterburstbuffer", "aftercorr",
                                                  "expand",   "singleton"};
  const auto& kinds = job.pbs() ? kPbs : kSlurm;
  for (const Dependency& d : dependencies(job)) {
    if (has_variable(d.value)) continue;  // a directive's variable: said already
    const std::vector<std::string> parts = split(d.value, ':');
    const std::string& kind = parts[0];
    if (!is_known(kind)) continue;
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
      job.error(d.line,
                fmt::format("'{}' is no kind of dependency{}", kind, suggestion(kind, kinds)),
                job.pbs() ? "-W depend=afterany:JOB" : "--dependency=afterany:JOB");
      continue;
    }
    if (kind == "singleton") continue;
    if (parts.size() < 2 || parts[1].empty()) {
      job.error(d.line, fmt::format("the dependency {} names no job", kind),
                fmt::format("{}:JOB", kind));
      continue;
    }
    for (std::size_t i = 1; i < parts.size(); ++i)
      if (is_known(parts[i]) && !is_job_id(parts[i], job.pbs())) {
        job.error(d.line,
                  fmt::format("'{}' in the dependency {} is no job's number", parts[i], kind),
                  fmt::format("{}:{}", kind, job.pbs() ? "123.server" : "123"));
        break;
      }
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

// A queue of one job a user, queued or running: neither the next job nor one that waits for another
// can be queued there beside it.
void chain_queue(const LintJob& job) {
  if (!job.request.in || job.request.in->jobs_per_user != 1) return;
  const std::string& queue = job.request.in->name;
  for (const Dependency& d : dependencies(job)) {
    if (!d.own || !d.value.starts_with("after") || d.value.find(':') == std::string::npos) continue;
    job.error(d.line,
              fmt::format("queue {} takes one job of a user, queued or running: no job of a chain "
                          "can wait there for the one before it",
                          queue),
              "another queue");
    break;
  }
  for (const RanCommand& c : job.run.commands) {
    if (c.words[0] != "qsub" && c.words[0] != "sbatch") continue;
    bool elsewhere = false;
    for (std::size_t i = 1; i + 1 < c.words.size(); ++i)
      elsewhere |= c.words[i] == "-q" && c.words[i + 1] != queue;
    if (!elsewhere)
      job.error(c.line,
                fmt::format("queue {} takes one job of a user, queued or running: a job cannot "
                            "queue its next there",
                            queue),
                "another queue");
  }
}

constexpr LintRule kRules[] = {{"attribute", attribute},
                               {"depend", depend},
                               {"chain-afterok", chain_afterok},
                               {"chain-queue", chain_queue}};

}  // namespace

std::span<const LintRule> depend_rules() { return kRules; }

}  // namespace weft
