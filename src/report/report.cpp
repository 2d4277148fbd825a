#include "report/report.h"

#include <fmt/format.h>

#include "report/document.h"
#include "report/rows.h"
#include "report/sections.h"

namespace weft::report {
namespace {

Document document_of(const std::vector<Run>& runs, bool with_charts) {
  ChartMaker charts(with_charts);
  Document document;
  document.title =
      runs.size() == 1 ? "Weft: " + runs.front().name : fmt::format("Weft: {} runs", runs.size());
  const auto add = [&](Section section) {
    if (!section.blocks.empty()) document.sections.push_back(std::move(section));
  };
  add(runs_section(runs));
  if (runs.size() == 2 && !runs[0].damaged() && !runs[1].damaged())
    add(comparison_section(runs[0], runs[1], charts));
  for (Section& section : scaling_sections(runs, charts)) add(std::move(section));
  add(time_section(runs, charts));
  add(text_jobs_section(runs, charts));
  add(utilisation_section(runs, charts));
  add(communication_section(runs, charts));
  add(curves_section(runs, charts));
  add(machines_section(runs));
  add(commands_section(runs));
  add(notes_section(runs));
  return document;
}

}  // namespace

std::string report_of(const std::vector<Run>& runs, ReportForm form) {
  switch (form) {
    case ReportForm::csv:
      return report_csv(runs);
    case ReportForm::json_lines:
      return report_json_lines(runs);
    case ReportForm::markdown:
      return as_markdown(document_of(runs, false));
    case ReportForm::html:
      return as_html(document_of(runs, true));
    case ReportForm::text:
      break;
  }
  return as_text(document_of(runs, false));
}

}  // namespace weft::report
