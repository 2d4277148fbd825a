// What a report says, a section each; empty sections are left out by whoever puts them together.
#pragma once

#include <string>
#include <vector>

#include "report/chart.h"
#include "report/document.h"
#include "report/run.h"

namespace weft::report {

// Draws charts where the report's form has them, under names of their own.
class ChartMaker {
 public:
  explicit ChartMaker(bool wanted) : wanted_(wanted) {}
  template <class Chart>
  void add(Section& section, const Chart& chart) {
    if (wanted_) section.chart(draw(chart, "c" + std::to_string(++n_)));
  }
  bool wanted() const { return wanted_; }

 private:
  bool wanted_;
  int n_ = 0;
};

using RunList = std::vector<Run>;

Section runs_section(const RunList& runs);
Section text_jobs_section(const RunList& runs, ChartMaker& charts);
Section comparison_section(const Run& first, const Run& second, ChartMaker& charts);
std::vector<Section> scaling_sections(const RunList& runs, ChartMaker& charts);
Section utilisation_section(const RunList& runs, ChartMaker& charts);
Section time_section(const RunList& runs, ChartMaker& charts);
Section communication_section(const RunList& runs, ChartMaker& charts);
Section curves_section(const RunList& runs, ChartMaker& charts);
Section machines_section(const RunList& runs);
Section commands_section(const RunList& runs);
Section notes_section(const RunList& runs);

}  // namespace weft::report
