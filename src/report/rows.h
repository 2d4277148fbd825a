// A run as one row of named columns: what --format csv and --json print, a contract (cli.md).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "report/run.h"

namespace weft::report {

// The columns' names and the run's values; what is not known is null. Of a damaged run: its name,
// and all else null.
OrderedJson report_row(const Run& run);

// A header and a line a run, quoted as RFC 4180 says. A damaged run's first cell says why.
std::string report_csv(const std::vector<Run>& runs);

// A JSON line a run; a damaged one's has `damaged`, the reason, too.
std::string report_json_lines(const std::vector<Run>& runs);

}  // namespace weft::report
