// What the plain parts of a job script come to: variables, arithmetic, counts of nodes, and the
// commands with their words as a shell would hand them over. What cannot be known before the job
// runs stays in a word as a mark that names it, so that nobody takes it for known.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plan/shell_script.h"

namespace weft {

// ---- words of which a part is not known: the variable's name between two control characters

std::string unknown_text(const std::string& name);  // name: the variable or the command
bool is_known(const std::string& text);
std::string shown_text(const std::string& text);  // "$NAME" in place of the marks
std::vector<std::string> unknown_names(const std::string& text);

// What stands between the separators: one part more than there are of them.
std::vector<std::string> split(const std::string& text, char at);

// A whole number, or none.
std::optional<std::int64_t> whole_number(const std::string& text);

struct ShellFacts {
  std::optional<std::int64_t> nodes, nodefile_lines;
  std::int64_t gpus = 0, cores = 0, hardware_threads = 0;  // of a node
  std::int64_t kit_ranks = 0;  // a node, by launch/job.sh where nothing else is said
  std::string folder;          // where the job was queued
  std::map<std::string, std::string> variables;  // that are set before the script begins
  std::string unknown_prefix;                    // variables that are set, to what nobody knows
};

struct RanCommand {
  int line = 0;
  std::vector<std::string> words;
  std::map<std::string, std::string> environment;  // exported ones, and those before the command
  std::string folder;                              // empty: not known
  bool moved = false;                              // the script has said where it works: cd
  bool background = false, perhaps = false, in_loop = false;
};

struct ShellRun {
  std::vector<RanCommand> commands;
  std::vector<int> waits;                // lines of the builtin wait
  std::map<std::string, int> never_set;  // variables that are used, but set nowhere: at which line
  bool sourced = false;                  // another file was read into it, which may have set them
};

ShellRun run_shell(const ShellScript& script, const ShellFacts& facts);

// An arithmetic expression of plain numbers and operators; none where it has anything else.
std::optional<std::int64_t> arithmetic(const std::string& text);

}  // namespace weft
