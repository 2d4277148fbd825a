// The commands of a shell script, as far as a reader of job scripts needs them: lists, pipelines,
// if, for, while, case, functions and groups, with quotes, here-documents and substitutions kept as
// they are written. Not a shell: shell_run.h evaluates what is plain.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weft {

struct ShellNode;
using ShellList = std::vector<ShellNode>;

// How a command is joined to the one before it.
enum class ShellJoin : std::uint8_t { next, and_then, or_else, pipe };

enum class ShellKind : std::uint8_t {
  command,
  if_,
  for_,
  while_,
  case_,
  function,
  group,
  subshell
};

// One arm of a case.
struct ShellArm;

struct ShellNode {
  ShellKind kind = ShellKind::command;
  int line = 0;
  ShellJoin join = ShellJoin::next;
  bool negated = false, background = false;
  std::vector<std::string> words;     // a command: NAME=value before it too; for, case: the words
  std::string name;                   // for: the variable; function: its name
  std::vector<std::string> inputs;    // here-strings, and files that are read with <
  ShellList condition, body, others;  // if, while; others: else
  std::vector<ShellArm> arms;
};

struct ShellArm {
  std::vector<std::string> patterns;
  ShellList body;
};

// Both included.
struct LineRange {
  int first = 0, last = 0;
};

struct ShellScript {
  ShellList commands;
  // Lines of here-documents, those of their ends included, and of quotes behind their first.
  std::vector<LineRange> texts;
  int stopped_at = 0;   // the line at which the reader lost its way; 0: read to the end
  std::string because;  // why
};

// Never throws. Lines are counted from first_line.
ShellScript parse_shell(std::string_view text, int first_line = 1);

}  // namespace weft
