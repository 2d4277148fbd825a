#include "io/lock_owner.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "core/check.h"
#include "core/system/hardware.h"
#include "io/json.h"

namespace weft::lock_owner {
namespace {

// The first line of a file of /proc; empty where there is none.
std::string proc_line(const std::string& file) {
  std::ifstream in("/proc/" + file);
  std::string line;
  std::getline(in, line);
  return line;
}

std::string process_namespace() {  // processes of two containers may have the same number
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/ns/pid", error).string();
}

// When a process started, in ticks since its host did; empty where it is gone, or dead and not yet
// waited for.
std::string process_start(std::int64_t process) {
  const std::string line = proc_line(fmt::format("{}/stat", process));
  const std::size_t name_ends = line.rfind(')');  // a process's name may hold anything
  if (name_ends == std::string::npos) return "";
  std::string rest = line.substr(name_ends + 1);
  for (int field = 3; field <= 22; ++field) {  // 3: its state
    const std::size_t begin = rest.find_first_not_of(' ');
    if (begin == std::string::npos) return "";
    const std::size_t end = std::min(rest.find(' ', begin), rest.size());
    const std::string value = rest.substr(begin, end - begin);
    if (field == 3 && (value == "Z" || value == "X")) return "";
    if (field == 22) return value;
    rest = rest.substr(end);
  }
  return "";
}

Json owner_of(const std::string& content) {
  const Json json = try_parse_json(first_line(content)).value_or(Json());
  const bool whole = json.is_object() && json.contains("host") && json["host"].is_string() &&
                     json.contains("process") && json["process"].is_number_integer() &&
                     json.contains("started") && json["started"].is_string() &&
                     json.contains("boot") && json["boot"].is_string() &&
                     json.contains("namespace") && json["namespace"].is_string();
  return whole ? json : Json();
}

}  // namespace

std::string line_of_this(const std::string& token) {
  const int process = ::getpid();
  return json_ascii(OrderedJson({{"host", host_name()},
                                 {"process", process},
                                 {"started", process_start(process)},
                                 {"boot", proc_line("sys/kernel/random/boot_id")},
                                 {"namespace", process_namespace()},
                                 {"token", token}}));
}

std::string first_line(const std::string& content) { return content.substr(0, content.find('\n')); }

std::string name_of(const std::string& content) {
  const Json owner = owner_of(content);
  if (owner.is_null()) return "an unknown process";
  return fmt::format("process {} on host {}", owner["process"].get<std::int64_t>(),
                     owner["host"].get<std::string>());
}

Owner look_for(const std::string& content) {
  const Json owner = owner_of(content);
  if (owner.is_null() || owner["host"] != host_name()) return Owner::unknown;
  if (owner["boot"] != proc_line("sys/kernel/random/boot_id")) return Owner::gone;
  if (owner["namespace"] != process_namespace()) return Owner::unknown;
  const auto process = owner["process"].get<std::int64_t>();
  const std::string started = process_start(process);
  if (!started.empty()) return owner["started"] == started ? Owner::lives : Owner::gone;
  // Some hosts show /proc of one's own processes alone.
  const bool hidden = ::kill(static_cast<pid_t>(process), 0) != 0 && errno == EPERM;
  return hidden ? Owner::unknown : Owner::gone;
}

}  // namespace weft::lock_owner
