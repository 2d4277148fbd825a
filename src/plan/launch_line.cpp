#include "plan/launch_line.h"

#include <algorithm>
#include <map>

namespace weft {
namespace {

using Dialect = LauncherDialect;

std::string base_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// weft itself, or a variable that is called so: "$WEFT".
bool is_weft(const std::string& word) {
  const std::string name = base_name(word);
  if (name == "weft") return true;
  const auto names = unknown_names(word);
  if (names.size() != 1 || word.size() != names[0].size() + 2) return false;
  const std::string variable = lower(names[0]);
  return variable == "weft" || variable == "weft_bin" || variable == "weft_exe";
}

enum class Part { ranks, per_node, nodes, depth, hosts, environment, map_by, bind, other };

// What launchers' options that take a value mean. Names without their dashes; one dash or two.
const std::map<std::string, Part>& valued() {
  static const std::map<std::string, Part> options = {{"n", Part::ranks},
                                                      {"np", Part::ranks},
                                                      {"c", Part::other},
                                                      {"ntasks", Part::ranks},
                                                      {"ppn", Part::per_node},
                                                      {"npernode", Part::per_node},
                                                      {"N", Part::per_node},
                                                      {"perhost", Part::per_node},
                                                      {"ntasks-per-node", Part::per_node},
                                                      {"d", Part::depth},
                                                      {"depth", Part::depth},
                                                      {"cpus-per-task", Part::depth},
                                                      {"cpus-per-proc", Part::depth},
                                                      {"nodes", Part::nodes},
                                                      {"hostfile", Part::hosts},
                                                      {"machinefile", Part::hosts},
                                                      {"f", Part::hosts},
                                                      {"host", Part::hosts},
                                                      {"hosts", Part::hosts},
                                                      {"H", Part::hosts},
                                                      {"nodelist", Part::hosts},
                                                      {"w", Part::hosts},
                                                      {"env", Part::environment},
                                                      {"x", Part::environment},
                                                      {"genv", Part::environment},
                                                      {"map-by", Part::map_by},
                                                      {"bind-to", Part::bind},
                                                      {"cpu-bind", Part::bind},
                                                      {"cc", Part::bind},
                                                      {"rank-by", Part::other},
                                                      {"mca", Part::other},
                                                      {"prtemca", Part::other},
                                                      {"wdir", Part::other},
                                                      {"wd", Part::other},
                                                      {"rankfile", Part::other},
                                                      {"rf", Part::other},
                                                      {"output-filename", Part::other},
                                                      {"mem-bind", Part::other},
                                                      {"pmi", Part::other},
                                                      {"mpi", Part::other},
                                                      {"gpus-per-node", Part::other},
                                                      {"gpus-per-task", Part::other},
                                                      {"gpus", Part::other},
                                                      {"G", Part::other},
                                                      {"gpu-bind", Part::other},
                                                      {"time", Part::other},
                                                      {"t", Part::other},
                                                      {"job-name", Part::other},
                                                      {"J", Part::other},
                                                      {"output", Part::other},
                                                      {"o", Part::other},
                                                      {"error", Part::other},
                                                      {"e", Part::other},
                                                      {"export", Part::other},
                                                      {"mem", Part::other},
                                                      {"partition", Part::other},
                                                      {"qos", Part::other},
                                                      {"constraint", Part::other},
                                                      {"C", Part::other},
                                                      {"account", Part::other},
                                                      {"distribution", Part::other},
                                                      {"m", Part::other},
                                                      {"signal", Part::other},
                                                      {"kill-on-bad-exit", Part::other},
                                                      {"K", Part::other},
                                                      {"jobid", Part::other},
                                                      {"oversubscribe-limit", Part::other},
                                                      {"gpu-map", Part::other},
                                                      {"ppr", Part::other},
                                                      {"bootstrap", Part::other},
                                                      {"launcher", Part::other},
                                                      {"iface", Part::other},
                                                      {"network", Part::other}};
  return options;
}

// Options that take a value only behind "=".
bool optional_value(const std::string& name) { return name == "kill-on-bad-exit" || name == "K"; }

// No larger than what can be multiplied.
LaunchCount count_of(const std::string& text) {
  return {text.size() < 10 ? whole_number(text) : std::nullopt, text};
}

class LaunchReader {
 public:
  explicit LaunchReader(const RanCommand& command) : words_(command.words) {
    launch_.command = command;
    const auto threads = command.environment.find("OMP_NUM_THREADS");
    if (threads != command.environment.end()) launch_.threads = count_of(threads->second);
  }

  std::optional<LaunchLine> read() {
    std::size_t at = skip_wrappers(0);
    if (at >= words_.size()) return std::nullopt;
    const std::string name = base_name(words_[at]);
    static const std::vector<std::string> kLaunchers = {
        "mpiexec",       "mpirun",          "srun",  "aprun", "mpiexec.hydra", "orterun", "prterun",
        "mpiexec.mpich", "mpiexec.openmpi", "jsrun", "flux"};
    const auto names = unknown_names(words_[at]);
    const std::string variable = names.size() == 1 ? lower(names[0]) : "";
    const bool known = std::find(kLaunchers.begin(), kLaunchers.end(), name) != kLaunchers.end();
    if (known || variable == "mpiexec" || variable == "mpirun") {
      launch_.launcher = known ? name : "mpiexec";
    } else if (lower(name).find("launch") != std::string::npos && at + 1 < words_.size() &&
               words_[at + 1].starts_with("-") && name.find('.') == std::string::npos) {
      launch_.launcher = name;
      launch_.by_function = true;
    } else if (is_weft(words_[at])) {
      launch_.program = {words_.begin() + static_cast<std::ptrdiff_t>(at), words_.end()};
      launch_.weft = 0;
      launch_.rank_count = 1;
      return std::move(launch_);
    } else {
      return std::nullopt;
    }
    at = options(at + 1);
    launch_.program = {words_.begin() + static_cast<std::ptrdiff_t>(at), words_.end()};
    for (std::size_t i = 0; i < launch_.program.size() && !launch_.weft; ++i)
      if (is_weft(launch_.program[i])) launch_.weft = i;
    return std::move(launch_);
  }

 private:
  // exec, time, timeout -k 5 100, nohup, env A=b, numactl …
  std::size_t skip_wrappers(std::size_t at) {
    while (at < words_.size()) {
      const std::string name = base_name(words_[at]);
      if (name == "exec" || name == "nohup" || name == "time" || name == "command" ||
          name == "stdbuf" || name == "nice") {
        ++at;
        while (at < words_.size() && words_[at].starts_with("-")) ++at;
      } else if (name == "timeout") {
        ++at;
        while (at < words_.size() && words_[at].starts_with("-"))
          at += words_[at] == "-k" || words_[at] == "-s" ? 2 : 1;
        ++at;  // the time
      } else if (name == "env") {
        ++at;
        for (; at < words_.size() && words_[at].find('=') != std::string::npos; ++at)
          environment(words_[at]);
      } else {
        break;
      }
    }
    return at;
  }

  void environment(const std::string& word) {
    const std::size_t equals = word.find('=');
    if (word.substr(0, equals) == "OMP_NUM_THREADS" && equals != std::string::npos)
      launch_.threads = count_of(word.substr(equals + 1));
  }

  // --map-by ppr:4:node:PE=8
  void map_by(const std::string& text) {
    std::vector<std::string> parts(1);
    for (const char c : text) {
      if (c == ':' || c == ',')
        parts.emplace_back();
      else
        parts.back() += c;
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (lower(parts[i]) == "ppr" && i + 2 < parts.size()) {
        // Of a socket or a NUMA domain: how many of those there are is not asked here.
        launch_.per_node = lower(parts[i + 2]) == "node"
                               ? count_of(parts[i + 1])
                               : LaunchCount{std::nullopt, parts[i + 1] + " a " + parts[i + 2]};
      }
      if (lower(parts[i]).starts_with("pe=")) launch_.depth = count_of(parts[i].substr(3));
    }
  }

  std::size_t options(std::size_t at) {
    const bool srun = launch_.launcher == "srun";
    const bool aprun = launch_.launcher == "aprun";
    while (at < words_.size() && words_[at].starts_with("-") && words_[at].size() > 1) {
      const std::string word = words_[at++];
      if (word == "--") break;
      std::string name = word.substr(word.starts_with("--") ? 2 : 1), value;
      bool has_value = false;
      const std::size_t equals = name.find('=');
      if (equals != std::string::npos && is_known(name.substr(0, equals))) {
        value = name.substr(equals + 1), has_value = true;
        name.resize(equals);
      } else if (!word.starts_with("--") && name.size() > 1 && !valued().contains(name) &&
                 name.find_first_not_of("0123456789", 1) == std::string::npos) {
        value = name.substr(1), has_value = true;  // -n4
        name.resize(1);
      }
      launch_.options.push_back((word.starts_with("--") ? "--" : "-") + name);
      auto option = valued().find(name);
      if (option == valued().end()) continue;
      Part part = option->second;
      if (srun && name == "N") part = Part::nodes;
      if (name == "c") part = srun ? Part::depth : Part::ranks;
      if (!has_value && !optional_value(name) && at < words_.size()) value = words_[at++];
      if (name == "mca" || name == "prtemca" ||
          (name == "genv" && value.find('=') == std::string::npos) ||
          (name == "env" && value.find('=') == std::string::npos && !srun && at < words_.size() &&
           !words_[at].starts_with("-"))) {
        if (at < words_.size()) value += "=" + words_[at++];
      }
      if (aprun && name == "N") part = Part::per_node;
      take(part, value);
    }
    return std::min(at, words_.size());
  }

  void take(Part part, const std::string& value) {
    switch (part) {
      case Part::ranks:
        launch_.ranks = count_of(value);
        break;
      case Part::per_node:
        launch_.per_node = count_of(value);
        break;
      case Part::nodes:
        launch_.nodes = count_of(value);
        break;
      case Part::depth:
        launch_.depth = count_of(value);
        break;
      case Part::hosts:
        launch_.own_hosts = true, launch_.hosts = value;
        break;
      case Part::environment:
        environment(value);
        break;
      case Part::map_by:
        map_by(value);
        break;
      case Part::bind:
        launch_.binds = value != "none";
        break;
      case Part::other:
        break;
    }
  }

  const std::vector<std::string>& words_;
  LaunchLine launch_;
};

}  // namespace

std::vector<LaunchLine> launches_of(const ShellRun& run) {
  std::vector<LaunchLine> launches;
  for (const RanCommand& command : run.commands)
    if (auto launch = LaunchReader(command).read()) launches.push_back(std::move(*launch));
  return launches;
}

void resolve_launch(LaunchLine& l, const JobRequest& r) {
  if (l.launcher.empty()) return;
  // A file of the job's own hosts is all of them.
  if (unknown_names(l.hosts) == std::vector<std::string>{"PBS_NODEFILE"}) l.own_hosts = false;
  const bool srun = l.launcher == "srun";
  if (srun) {
    const auto job = [](LaunchCount& count, const std::optional<std::int64_t>& otherwise) {
      if (count.text.empty() && otherwise) count = {otherwise, std::to_string(*otherwise)};
    };
    job(l.per_node, l.ranks.text.empty() ? r.tasks_per_node : std::nullopt);
    job(l.nodes, r.nodes);
    if (l.per_node.text.empty()) job(l.ranks, r.tasks);
    job(l.depth, r.cpus_per_task);
  }
  const auto nodes = srun ? l.nodes.value : r.nodes;
  l.rank_count = l.ranks.value;
  l.ranks_per_node = l.per_node.value;
  if (l.ranks.text.empty() && l.per_node.value && nodes) l.rank_count = *l.per_node.value * *nodes;
  if (l.rank_count && nodes && l.per_node.text.empty() && !l.own_hosts && *nodes > 0 &&
      *l.rank_count % *nodes == 0 && (srun || *nodes == 1))
    l.ranks_per_node = *l.rank_count / *nodes;
  if (l.rank_count && l.ranks_per_node && *l.ranks_per_node > *l.rank_count)
    l.ranks_per_node = l.rank_count;
}

std::string foreign_dialect(const std::string& option, Dialect own) {
  struct Known {
    const char* option;
    std::vector<Dialect> dialects;
  };
  static const std::vector<Known> kKnown = {{"--ppn", {Dialect::pals, Dialect::hydra}},
                                            {"-ppn", {Dialect::pals, Dialect::hydra}},
                                            {"--depth", {Dialect::pals}},
                                            {"-d", {Dialect::pals}},
                                            {"--cpu-bind", {Dialect::pals, Dialect::srun}},
                                            {"--line-buffer", {Dialect::pals}},
                                            {"--map-by", {Dialect::open_mpi, Dialect::hydra}},
                                            {"-map-by", {Dialect::open_mpi, Dialect::hydra}},
                                            {"--bind-to", {Dialect::open_mpi, Dialect::hydra}},
                                            {"-bind-to", {Dialect::open_mpi, Dialect::hydra}},
                                            {"-npernode", {Dialect::open_mpi}},
                                            {"--npernode", {Dialect::open_mpi}},
                                            {"-x", {Dialect::open_mpi}},
                                            {"--mca", {Dialect::open_mpi}},
                                            {"-mca", {Dialect::open_mpi}},
                                            {"--oversubscribe", {Dialect::open_mpi, Dialect::srun}},
                                            {"--ntasks-per-node", {Dialect::srun}},
                                            {"--cpus-per-task", {Dialect::srun}},
                                            {"--ntasks", {Dialect::srun}},
                                            {"--gpus-per-node", {Dialect::srun}}};
  for (const Known& known : kKnown)
    if (option == known.option &&
        std::find(known.dialects.begin(), known.dialects.end(), own) == known.dialects.end())
      return dialect_name(known.dialects[0]);
  return "";
}

std::string dialect_name(Dialect dialect) {
  switch (dialect) {
    case Dialect::pals:
      return "PALS";
    case Dialect::open_mpi:
      return "Open MPI";
    case Dialect::hydra:
      return "MPICH";
    case Dialect::srun:
      return "srun";
  }
  return "";
}

}  // namespace weft
