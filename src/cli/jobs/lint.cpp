#include <fmt/ranges.h>

#include <filesystem>

#include "cli/command.h"
#include "cli/help_forms.h"
#include "cli/jobs/weft_line.h"
#include "cli/options.h"
#include "core/check.h"
#include "core/log.h"
#include "core/utf8.h"
#include "io/files.h"
#include "io/json.h"
#include "plan/job_lint.h"

namespace weft {
namespace {

struct LintOptions {
  std::vector<std::string> jobs;
  std::string machine;
  bool json = false;

  void visit(FieldVisitor& v) {
    v.group("lint");
    v.field("machine", machine,
            "polaris, sophia, another of the launch kit, or a .toml file (unset: WEFT_MACHINE's)");
    v.group("output");
    v.field("json", json, "JSON lines on stdout");
  }
};

Machine machine_for(const LintOptions& o) {
  if (!o.machine.empty()) return find_machine(o.machine);
  if (auto machine = machine_of_run()) return *machine;
  user_error("--machine is missing: polaris, sophia, another of the launch kit, or a .toml file");
}

// The words of a command in a job script, as the command itself takes them.
bool check_words(Mpi& mpi, const std::string& name, const std::vector<std::string>& words) {
  static const std::pair<const char*, void (*)(const Invocation&)> kCommands[] = {
      {"data", run_data},         {"tokenizer", run_tokenizer}, {"tokenize", run_tokenize},
      {"generate", run_generate}, {"score", run_score},         {"classify", run_classify},
      {"embed", run_embed},       {"neighbors", run_neighbors}, {"fill", run_fill},
      {"info", run_info},         {"bench", run_bench},         {"convert", run_convert},
      {"report", run_report},     {"chat", run_chat},           {"lint", run_lint},
      {"train", run_train},       {"attention", run_attention}, {"search", run_search}};
  for (const auto& [command, run] : kCommands) {
    if (name != command) continue;
    std::vector<std::string> args = {kOnlyCheck};
    args.insert(args.end(), words.begin(), words.end());
    run({mpi, args});
    return true;
  }
  return name == "help";
}

void print(const std::string& file, const LintFinding& f, bool json, bool names_file) {
  if (json) {
    OrderedJson line;
    if (names_file) line["file"] = file;
    line["line"] = f.line;
    line["rule"] = f.rule;
    line["severity"] = severity_name(f.severity);
    line["text"] = made_utf8(f.text);
    line["fix"] = made_utf8(f.fix);
    fmt::print("{}\n", json_text(line));
    return;
  }
  const std::string fix = f.fix.empty() ? "" : "; instead: " + one_line(f.fix);
  fmt::print("{}:{}: {}: {}{} [{}]\n", file, f.line, severity_name(f.severity), one_line(f.text),
             fix, f.rule);
}

}  // namespace

void run_lint(const Invocation& invocation) {
  LintOptions o;
  const bool first = invocation.mpi.rank() == 0;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  if (!parse_options({"lint",
                      "Checks job scripts before they are queued: what the scheduler refuses, "
                      "drops or never runs.",
                      &o.jobs, "JOB..."},
                     invocation.args, fields, first))
    return;
  CHECK_USER(!o.jobs.empty(), "weft lint: name a job script");
  const Machine machine = machine_for(o);
  const LintSettings settings = {
      std::filesystem::current_path().string(), [&](const WeftQuestion& question) {
        return read_weft_line(question,
                              [&](const std::string& name, const std::vector<std::string>& words) {
                                return check_words(invocation.mpi, name, words);
                              });
      }};
  int errors = 0;
  std::vector<std::string> refused;
  for (const std::string& file : o.jobs) {
    const int before = errors;
    for (const LintFinding& f : lint_job(file, read_text_file(file), machine, settings)) {
      errors += f.severity == LintSeverity::error;
      if (first) print(file, f, o.json, o.jobs.size() > 1);
    }
    if (errors > before) refused.push_back(file);
  }
  CHECK_USER(errors == 0, "{} would not run on {} ({} error{})", fmt::join(refused, ", "),
             machine.name, errors, errors == 1 ? "" : "s");
}

}  // namespace weft
