#include "cli/run_facts.h"

#include <algorithm>

#include "cli/version.h"
#include "comm/agreement.h"
#include "core/system/hardware.h"
#include "machine/machine.h"

namespace weft {

std::vector<std::string> hosts_of(Communicator& world) {
  Stream stream;
  std::vector<std::string> hosts;
  for (const std::string& host : gather_texts(world, host_name(), stream))
    if (std::find(hosts.begin(), hosts.end(), host) == hosts.end()) hosts.push_back(host);
  return hosts;
}

std::string shell_words(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) {
    const bool plain = !word.empty() && word.find_first_not_of(
                                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                            "0123456789-_=./,:+@%") == std::string::npos;
    std::string quoted = "'";
    for (char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
    line += (line.empty() ? "" : " ") + (plain ? word : quoted + "'");
  }
  return line;
}

std::string command_line(const Invocation& invocation, const std::string& what) {
  std::vector<std::string> words = {"weft", what};
  words.insert(words.end(), invocation.args.begin(), invocation.args.end());
  return shell_words(words);
}

std::string made_by() {
  const OrderedJson info = build_info();
  return fmt::format("weft {} ({})", info["version"].get<std::string>(),
                     info["commit"].get<std::string>());
}

OrderedJson run_facts(const Invocation& invocation, const std::string& what) {
  OrderedJson facts = {
      {"log_version", 1}, {"what", what}, {"command", command_line(invocation, what)}};
  facts.update(build_info());
  facts["device"] = "cpu";
  facts["cpu"] = cpu_model();
  if (const auto machine = machine_of_run())
    facts["machine"] = {{"name", machine->name}, {"site", machine->site}};
  return facts;
}

}  // namespace weft
