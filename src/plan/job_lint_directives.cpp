// Rules about lines: what is a directive, and what only looks like one.
#include <algorithm>

#include "core/spelling.h"
#include "plan/lint_rules.h"

namespace weft {
namespace {

void dialect(const LintJob& job) {
  if (job.script.foreign.empty()) return;
  const JobOddity& first = job.script.foreign[0];
  const std::string text =
      fmt::format("{}'s scheduler is {}: it reads {}, and this line is a comment to it",
                  job.machine.name, job.scheduler(), job.prefix());
  const std::string fix = fmt::format("write it as {} directives", job.prefix());
  if (job.script.has_directives())
    job.warning(first.line, text, fix);
  else
    job.error(first.line, text, fix);
}

void carriage_returns(const LintJob& job) {
  if (job.script.carriage_returns)
    job.error(1,
              "lines end in CR LF, as Windows writes them: the shell is not found, and values "
              "carry a carriage return",
              "dos2unix " + job.script.file);
}

void byte_order_mark(const LintJob& job) {
  if (job.script.byte_order_mark)
    job.error(
        1,
        fmt::format("the file begins with a byte order mark: the first line is no #! line, and "
                    "{} takes it for a command, behind which it reads no directive",
                    job.scheduler()),
        "sed -i '1s/^\\xef\\xbb\\xbf//' " + job.script.file);
}

void shebang(const LintJob& job) {
  if (job.script.first_line.starts_with("#!")) return;
  const std::string text = job.script.first_line.empty() || job.pbs()
                               ? "the first line is no #! line: which shell runs this is left open"
                               : "the first line is no #! line";
  if (job.pbs())
    job.warning(1, text, "#!/bin/bash -l");
  else
    job.error(1, text + "; sbatch refuses it", "#!/bin/bash");
}

void late(const LintJob& job) {
  for (const JobOddity& line : job.script.late)
    job.error(line.line,
              fmt::format("{} reads no directive behind the first command (line {})",
                          job.scheduler(), job.script.first_command),
              "move it up");
}

void comment(const LintJob& job) {
  for (const JobOddity& c : job.script.comments)
    job.error(c.line,
              fmt::format("'{}' is part of the directive: {} has no comments there", c.text,
                          job.scheduler()),
              "put the comment below all directives");
}

void typo(const LintJob& job) {
  for (const JobOddity& line : job.script.near)
    job.warning(line.line, fmt::format("'{}' is a comment, not a directive", line.text),
                fmt::format("write {} without a blank, or ## to switch it off", job.prefix()));
  for (const JobOddity& line : job.script.glued)
    job.warning(line.line, fmt::format("there is no blank behind {}", job.prefix()),
                job.prefix() + " " + line.text.substr(job.prefix().size()));
}

void equals(const LintJob& job) {
  for (const JobOddity& word : job.script.equals)
    job.error(word.line,
              fmt::format("'{}': the = would be part of the value, as the option has one letter",
                          word.text),
              word.text.substr(0, 2) + " " + word.text.substr(3));
}

void words(const LintJob& job) {
  for (const JobOddity& word : job.script.stray) {
    std::string fix = "remove it";
    bool follows_comma = false;
    for (const JobOption& option : job.script.options)
      follows_comma |= option.line == word.line && option.value.ends_with(",");
    if (follows_comma)
      fix = "no blank behind a comma: -l name=value,name=value";
    else if (word.text.starts_with("="))
      fix = "no blanks around the =";
    else if (job.pbs() && word.text.starts_with("depend="))
      fix = "-W " + word.text;
    else if (word.text.find('=') != std::string::npos)
      fix = (job.pbs() ? "-l " : "--") + word.text;
    job.error(word.line, fmt::format("'{}' belongs to no option", word.text), fix);
  }
}

constexpr LintRule kRules[] = {{"dialect", dialect},
                               {"carriage-returns", carriage_returns},
                               {"shebang", shebang},
                               {"directive-late", late},
                               {"directive-comment", comment},
                               {"directive-typo", typo},
                               {"directive-words", words},
                               {"directive-equals", equals},
                               {"byte-order-mark", byte_order_mark}};

}  // namespace

std::span<const LintRule> directive_rules() { return kRules; }

}  // namespace weft
