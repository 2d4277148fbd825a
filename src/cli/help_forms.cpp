#include "cli/help_forms.h"

#include <fmt/ranges.h>

#include "cli/option_list.h"

namespace weft {
namespace {

using Takes = DescribedOption::Takes;

// --config is read before the fields, so no command visits it.
std::vector<DescribedOption> options_of(const VisitFields& fields) {
  std::vector<DescribedOption> all = describe_options(fields);
  all.insert(all.begin(), {.flag = "--config",
                           .group = "options",
                           .help = "TOML file with any of these options; flags win over it"});
  all.push_back({.flag = "--help",
                 .group = "options",
                 .help = "print this help message and exit",
                 .takes = Takes::nothing});
  return all;
}

// ---- roff

std::string roff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n'))
      out += std::string("\\&") + c;
    else
      out += c;
  }
  return out;
}

std::string man_head(const std::string& name, const std::string& summary) {
  return fmt::format(".TH {} 1 \"\" \"weft\" \"Weft\"\n.SH NAME\n{} \\- {}\n.ad l\n.SH SYNOPSIS\n",
                     roff(name), roff(name), roff(summary));
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

std::string man_argument(const DescribedOption& o) {
  const std::string words = fmt::format("{}", fmt::join(o.words, "|"));
  switch (o.takes) {
    case Takes::nothing:
      return "";
    case Takes::word_or_nothing:
      return fmt::format("[={}]", words);
    case Takes::number:
      return " N";
    case Takes::text:
      return o.words.empty() ? " TEXT" : " " + words;
  }
  return "";
}

std::string man_page(const CommandLine& command, const VisitFields& fields) {
  std::string out = man_head("weft-" + command.name, command.summary);
  const std::string words = command.positionals ? " " + command.positional_name : "";
  out += fmt::format(".B weft {}\n[options]{}\n.br\n.B mpiexec \\-n\nN\n.B weft {}\n[options]{}\n",
                     roff(command.name), roff(words), roff(command.name), roff(words));
  std::string group;
  for (const DescribedOption& o : options_of(fields)) {
    if (o.group != group) out += fmt::format(".SH {}\n", upper(roff(group = o.group)));
    out += fmt::format(".TP\n.BR {} \"{}\"\n{}", roff(o.flag), roff(man_argument(o)), roff(o.help));
    if (!o.words.empty() && o.takes == Takes::text)
      out += fmt::format(": {}", roff(fmt::format("{}", fmt::join(o.words, ", "))));
    if (!o.default_text.empty()) out += fmt::format(" [{}]", roff(o.default_text));
    out += '\n';
  }
  return out + ".SH SEE ALSO\n.BR weft (1)\n";
}

// ---- shells

std::string shell_quoted(const std::string& text) {  // for a shell, in single quotes
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

std::string bash_part(const CommandLine& command, const VisitFields& fields) {
  std::string flags, values, nothing;
  for (const DescribedOption& o : options_of(fields)) {
    flags += (flags.empty() ? "" : " ") + o.flag;
    if (!o.words.empty() && o.takes == Takes::text)
      values += fmt::format("        {}) values={} ;;\n", o.flag,
                            shell_quoted(fmt::format("{}", fmt::join(o.words, " "))));
    else if (o.takes == Takes::number)
      nothing += (nothing.empty() ? "" : "|") + o.flag;
    else if (o.takes == Takes::nothing || o.takes == Takes::word_or_nothing)
      values += fmt::format("        {}) follows= ;;\n", o.flag);
  }
  if (!nothing.empty()) values += fmt::format("        {}) files= ;;\n", nothing);
  return fmt::format(
      "    {})\n      flags={}\n      words={}\n      case $prev in\n{}      esac ;;\n",
      command.name, shell_quoted(flags),
      shell_quoted(fmt::format("{}", fmt::join(command.words, " "))), values);
}

// Between brackets of _arguments.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_argument(const DescribedOption& o) {
  const std::string words = fmt::format("({})", fmt::join(o.words, " "));
  switch (o.takes) {
    case Takes::nothing:
      return "";
    case Takes::word_or_nothing:
      return "::word:" + words;
    case Takes::number:
      return ":N: ";
    case Takes::text:
      return o.words.empty() ? ":text:_files" : ":word:" + words;
  }
  return "";
}

std::string zsh_part(const CommandLine& command, const VisitFields& fields) {
  std::string out = fmt::format("    {})\n      _arguments \\\n", command.name);
  for (const DescribedOption& o : options_of(fields)) {
    const char* behind = o.takes == Takes::word_or_nothing ? "=-" : "";
    out += fmt::format("        {} \\\n",
                       shell_quoted(fmt::format("*{}{}[{}]{}", o.flag, behind, zsh_text(o.help),
                                                zsh_argument(o))));
  }
  const std::string words =
      command.words.empty() ? "_files" : fmt::format("({})", fmt::join(command.words, " "));
  return out + fmt::format("        {} ;;\n", shell_quoted("*:word:" + words));
}

}  // namespace

std::string command_help(HelpForm form, const CommandLine& command, const VisitFields& fields) {
  switch (form) {
    case HelpForm::man:
      return man_page(command, fields);
    case HelpForm::bash:
      return bash_part(command, fields);
    case HelpForm::zsh:
      return zsh_part(command, fields);
  }
  return "";
}

std::string program_man_page(const std::vector<CommandSummary>& commands) {
  std::string out =
      man_head("weft", "trains and runs transformer language models across MPI ranks");
  out +=
      ".B weft\nCOMMAND [options]\n.br\n.B mpiexec \\-n\nN\n.B weft\nCOMMAND [options]\n"
      ".SH DESCRIPTION\nWithout a launcher\n.B weft\nis one rank; mpiexec starts a grid of tensor "
      "x pipeline x data parallel ranks\n(\\-\\-tp, \\-\\-pp, \\-\\-dp).\nResults go to stdout, "
      "from rank 0 only; logs and warnings to stderr.\n";
  std::string group;
  for (const CommandSummary& c : commands) {
    if (c.group != group) out += fmt::format(".SH {}\n", upper(roff(group = c.group)));
    out += fmt::format(".TP\n.BR weft\\-{} (1)\n{}\n", roff(c.name), roff(c.summary));
  }
  return out +
         ".SH EXIT STATUS\n.TP\n0\ndone\n.TP\n1\nfailed: a file, memory, a peer, the program "
         "itself\n.TP\n2\nthe user's mistake; the message names what is allowed\n.TP\n3\nstopped "
         "early (a signal, the walltime); the same command goes on\n";
}

std::string completion_begin(HelpForm shell, const std::vector<CommandSummary>& commands) {
  if (shell == HelpForm::bash) {
    std::string names;
    for (const CommandSummary& c : commands) names += (names.empty() ? "" : " ") + c.name;
    return fmt::format(
        R"(# bash completion for weft; written by  weft --completion bash
_weft() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}}
  local flags= words= values= follows=1 files=1
  [ "$cur" = = ] && cur=
  [ "$prev" = = ] && prev=${{COMP_WORDS[COMP_CWORD - 2]}}
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W {} -- "$cur")
    return
  fi
  case ${{COMP_WORDS[1]}} in
)",
        shell_quoted(names + " --help --version"));
  }
  std::string out = R"(#compdef weft
# zsh completion for weft; written by  weft --completion zsh
_weft() {
  local -a commands
  commands=(
)";
  for (const CommandSummary& c : commands)
    out += fmt::format("    {}\n", shell_quoted(c.name + ":" + zsh_text(c.summary)));
  return out + R"(  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
)";
}

std::string completion_end(HelpForm shell) {
  if (shell == HelpForm::bash)
    return R"(  esac
  case $cur in
    -*) mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur"); return ;;
  esac
  if [ -n "$values" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
  elif [ -n "$words" ] && { [[ $prev != -* ]] || [ -z "$follows" ]; }; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  elif [ -n "$files" ]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
  fi
}
complete -F _weft weft
)";
  return R"(  esac
}
_weft "$@"
)";
}

}  // namespace weft
