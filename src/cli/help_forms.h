// What an installation says of the command line outside the program, written from the same visited
// options as --help: man pages and shell completion.
//   weft --completion bash|zsh      the whole script        weft COMMAND --help=bash|zsh   its part
//   weft --man                      weft(1)                 weft COMMAND --help=man        its page
#pragma once

#include <string>
#include <vector>

#include "cli/options.h"

namespace weft {

// Before other words: they are parsed and checked, nothing is printed, and the command does not
// run.
inline constexpr const char* kOnlyCheck = "--help=check";

enum class HelpForm : std::uint8_t { man, bash, zsh };
constexpr Word<HelpForm> kHelpForms[] = {
    {"man", HelpForm::man}, {"bash", HelpForm::bash}, {"zsh", HelpForm::zsh}};

// The command's man page, or its part of a completion script.
std::string command_help(HelpForm form, const CommandLine& command, const VisitFields& fields);

struct CommandSummary {
  std::string name, group, summary;
};

// weft(1).
std::string program_man_page(const std::vector<CommandSummary>& commands);
// What stands before and after the commands' parts of a completion script.
std::string completion_begin(HelpForm shell, const std::vector<CommandSummary>& commands);
std::string completion_end(HelpForm shell);

}  // namespace weft
