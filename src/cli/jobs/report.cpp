#include "report/report.h"

#include <algorithm>
#include <filesystem>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/stdout.h"
#include "comm/agreement.h"
#include "core/check.h"
#include "core/log.h"
#include "io/files.h"

namespace weft {
namespace {

using report::ReportForm;
using report::Run;

constexpr Word<ReportForm> kForms[] = {{"text", ReportForm::text},
                                       {"md", ReportForm::markdown},
                                       {"csv", ReportForm::csv},
                                       {"html", ReportForm::html}};

struct ReportOptions {
  std::vector<std::string> runs;
  std::string format, out;
  bool json = false;

  void visit(FieldVisitor& v) {
    v.group("report");
    v.field("format", format, kForms,
            "unset: by the ending of --out (.md, .csv, .html), else text");
    v.field("out", out, "file to write instead of stdout");
    v.field("json", json, "a JSON line a run, with the CSV's columns");
  }

  ReportForm form() const {
    CHECK_USER(!json || format.empty(), "--json is a form of its own: leave out --format {}",
               format);
    if (json) return ReportForm::json_lines;
    if (!format.empty()) return value_of(kForms, "--format", format);
    const std::string ending = std::filesystem::path(out).extension().string();
    for (const auto& form : kForms)
      if (ending == std::string(".") + form.text) return form.value;
    return ReportForm::text;
  }
};

void write_report(const ReportOptions& o) {
  const ReportForm form = o.form();
  const std::vector<Run> runs = report::read_runs(o.runs);
  const bool any = std::any_of(runs.begin(), runs.end(), [](const Run& r) { return !r.damaged(); });
  CHECK_USER(any, "{}: is damaged: {}{}", runs.front().file, runs.front().problem,
             runs.size() > 1 ? fmt::format("; so are the other {} logs", runs.size() - 1) : "");
  for (const Run& run : runs)
    if (run.damaged()) log_warning("{}: is damaged: {}", run.file, run.problem);
  const std::string text = report::report_of(runs, form);
  if (!o.out.empty()) return write_file_atomically(o.out, text);
  fmt::print("{}", text);
  flush_stdout();
}

}  // namespace

void run_report(const Invocation& invocation) {
  auto world = invocation.mpi.world();
  ReportOptions o;
  const VisitFields fields = [&](FieldVisitor& v) { o.visit(v); };
  const CommandLine line = {
      "report",
      "What the logs of runs say: speed, scaling, where the time goes, curves; two RUNs are "
      "compared. RUN: a run folder, a log (run.jsonl, --log FILE), or a folder of run folders.",
      &o.runs, "RUN"};
  if (!parse_options(line, invocation.args, fields, world->rank() == 0)) return;
  CHECK_USER(!o.runs.empty(), "weft report: name run folders, logs or a folder of run folders");
  Stream stream;
  on_first_rank(*world, stream, [&] { write_report(o); });  // reading is one rank's work
}

}  // namespace weft
