// `weft report`: what the logs of runs say, in the form that is asked for.
#pragma once

#include <string>
#include <vector>

#include "report/run.h"

namespace weft::report {

enum class ReportForm { text, markdown, csv, html, json_lines };

// Of runs that are not all damaged.
std::string report_of(const std::vector<Run>& runs, ReportForm form);

}  // namespace weft::report
