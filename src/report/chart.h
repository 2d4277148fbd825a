// Charts: lines over an axis, and horizontal bars.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "report/axis.h"

namespace weft::report {

using Points = std::vector<std::pair<double, double>>;  // (x, y); a y of NaN breaks the line

struct Series {
  std::string name;
  Points points;
  int style = 0;
  bool line = true, markers = false;
  bool in_legend = true;
  std::vector<double> deviations;  // of y, one a point; empty: none are drawn
};

struct LineChart {
  std::string title;
  Axis x, y;
  std::vector<Series> series;
  Points ideal;  // a dotted line; empty: none
  std::string ideal_name = "ideal";
};

struct BarRow {
  std::string label;
  std::vector<double> values;  // one a category; NaN: no bar
};

struct BarChart {
  std::string title;
  std::vector<std::string> categories;
  std::vector<BarRow> rows;
  bool stacked = false;  // values are shares that sum to 1; else bars stand below each other
  Axis x;                // of bars that are not stacked
};

// SVG text; empty where there is nothing to draw. `id`: unlike those of the page's other charts.
std::string draw(const LineChart& chart, const std::string& id);
std::string draw(const BarChart& chart, const std::string& id);

// At most four points (first, least, greatest, last) of each of `buckets` equal parts of x, in
// order; breaks stay.
Points decimated(const Points& points, int buckets);

}  // namespace weft::report
