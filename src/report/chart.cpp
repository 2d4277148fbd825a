#include "report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/amounts.h"
#include "report/svg.h"

namespace weft::report {
namespace {

constexpr double kWidth = 760, kRight = 16, kPlotHeight = 250;
constexpr int kBuckets = 340;             // of a line: two pixels each
constexpr std::size_t kMostMarkers = 14;  // a line of more points goes without
constexpr std::size_t kLongestLabel = 44;

struct LegendEntry {
  std::string name;
  SeriesStyle style;
  bool area = false, line = true, marker = false, ideal = false;
};

// Below the title, in as many rows as it takes; returns where they end.
double draw_legend(Svg& svg, const std::vector<LegendEntry>& entries, double top, bool draws) {
  double x = 10, y = top + 14;
  if (entries.empty()) return top;
  for (const LegendEntry& entry : entries) {
    const std::string name = shortened(entry.name, kLongestLabel);
    const double width = 32 + text_width(name) + 16;
    if (x > 10 && x + width > kWidth - 6) x = 10, y += 19;
    if (draws) {
      if (entry.area)
        svg.area_sample(x, y - 4, entry.style);
      else if (entry.ideal)
        svg.dotted({{x, y - 4}, {x + 26, y - 4}});
      else
        svg.line_sample(x, y - 4, entry.style, entry.line, entry.marker);
      svg.text(x + 32, y, Anchor::start, name);
    }
    x += width;
  }
  return y + 6;
}

std::vector<LegendEntry> legend_of(const LineChart& chart) {
  std::vector<LegendEntry> entries;
  for (const Series& s : chart.series)
    if (s.in_legend) entries.push_back({s.name, {s.style}, false, s.line, s.markers, false});
  if (entries.size() == 1 && chart.ideal.empty()) entries.clear();  // the title says it
  if (!chart.ideal.empty()) entries.push_back({chart.ideal_name, {0}, false, true, false, true});
  return entries;
}

double widest_label(const Axis& axis) {
  double widest = 0;
  for (const double tick : axis.ticks) widest = std::max(widest, text_width(axis.label(tick)));
  return widest;
}

}  // namespace

Points decimated(const Points& points, int buckets) {
  if (points.size() <= 4 * static_cast<std::size_t>(buckets)) return points;
  const double low = points.front().first, high = points.back().first;
  if (!(high > low)) return points;
  const auto bucket = [&](std::size_t i) {
    return std::min(buckets - 1,
                    static_cast<int>((points[i].first - low) / (high - low) * buckets));
  };
  Points out;
  for (std::size_t begin = 0; begin < points.size();) {
    std::size_t end = begin;
    std::vector<std::size_t> kept;
    std::size_t least = begin, greatest = begin;
    const bool gap = std::isnan(points[begin].second);
    for (; end < points.size() && bucket(end) == bucket(begin) &&
           std::isnan(points[end].second) == gap;
         ++end) {
      if (points[end].second < points[least].second) least = end;
      if (points[end].second > points[greatest].second) greatest = end;
    }
    kept = {begin, least, greatest, end - 1};
    std::sort(kept.begin(), kept.end());
    kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
    for (const std::size_t i : kept) out.push_back(points[i]);
    begin = end;
  }
  return out;
}

std::string draw(const LineChart& given, const std::string& id) {
  LineChart chart = given;
  std::vector<double> xs, ys;
  for (Series& s : chart.series) {
    const bool whole = s.points.size() <= kMostMarkers;
    if (s.deviations.empty()) s.points = decimated(s.points, kBuckets);
    s.markers = s.markers || (s.line && whole);
    for (std::size_t i = 0; i < s.points.size(); ++i) {
      const auto& [x, y] = s.points[i];
      if (!std::isfinite(y)) continue;
      xs.push_back(x);
      ys.push_back(y);
      if (s.deviations.empty() || !std::isfinite(s.deviations[i])) continue;
      ys.push_back(y - s.deviations[i]);
      ys.push_back(y + s.deviations[i]);
    }
  }
  if (ys.empty()) return "";
  for (const auto& [x, y] : chart.ideal) xs.push_back(x), ys.push_back(y);
  chart.x.fit(xs, 8);
  chart.y.fit(ys, 6);

  const std::vector<LegendEntry> legend = legend_of(chart);
  Svg measure(0, 0, "", "");
  const double top = draw_legend(measure, legend, 24, false) + 12, bottom = top + kPlotHeight,
               height = bottom + 44, left = std::max(44.0, widest_label(chart.y) + 37);
  Svg svg(kWidth, height, chart.title, id);
  svg.text(10, 15, Anchor::start, chart.title, "title");
  draw_legend(svg, legend, 24, true);

  const double right = kWidth - kRight;
  const auto x_of = [&](double v) { return left + chart.x.at(v) * (right - left); };
  const auto y_of = [&](double v) { return bottom - chart.y.at(v) * (bottom - top); };
  for (const double tick : chart.y.ticks) {
    svg.line(left, y_of(tick), right, y_of(tick), "rule");
    svg.text(left - 10, y_of(tick) + 4, Anchor::end, chart.y.label(tick), "faint");
  }
  svg.line(left, bottom, right, bottom, "axis");
  for (const double tick : chart.x.ticks) {
    const std::string label = chart.x.label(tick);
    const double x = std::min(x_of(tick), kWidth - 3 - text_width(label) / 2);
    svg.line(x_of(tick), bottom, x_of(tick), bottom + 4, "axis");
    svg.text(x, bottom + 17, Anchor::middle, label, "faint");
  }
  svg.text((left + right) / 2, bottom + 36, Anchor::middle, chart.x.title, "faint");
  svg.text_upwards(15, (top + bottom) / 2, chart.y.title);

  Points ideal;
  for (const auto& [x, y] : chart.ideal) ideal.emplace_back(x_of(x), y_of(y));
  if (!ideal.empty()) svg.dotted(ideal);
  for (const Series& s : chart.series) {
    Points places;
    for (const auto& [x, y] : s.points) places.emplace_back(x_of(x), y_of(y));
    if (s.line) svg.polyline(places, {s.style});
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (!std::isfinite(places[i].second)) continue;
      if (!s.deviations.empty() && s.deviations[i] > 0)
        svg.whisker(places[i].first,
                    y_of(std::max(s.points[i].second - s.deviations[i], chart.y.low)),
                    y_of(s.points[i].second + s.deviations[i]), {s.style});
      if (s.markers) svg.marker(places[i].first, places[i].second, {s.style});
    }
  }
  return svg.str();
}

namespace {

struct BarPlace {
  double left, right, top, row_height, bar_height;
};

void draw_stack(Svg& svg, const BarChart& chart, const BarRow& row, const BarPlace& place) {
  const std::vector<int> tenths = tenths_of_percent(row.values);
  double x = place.left;
  for (std::size_t i = 0; i < tenths.size(); ++i) {
    const double width = tenths[i] / 1000.0 * (place.right - place.left);
    if (tenths[i] == 0) continue;
    const std::string label = tenths_text(tenths[i]);
    svg.area(x, place.top, width, place.bar_height, {static_cast<int>(i)},
             fmt::format("{} {} %", chart.categories[i], label));
    if (width >= text_width(label) + 4)
      svg.text(x + width / 2, place.top + place.bar_height / 2 + 4, Anchor::middle, label,
               "inside");
    x += width;
  }
}

void draw_bars(Svg& svg, const BarChart& chart, const BarRow& row, const BarPlace& place) {
  double y = place.top;
  for (std::size_t i = 0; i < row.values.size(); ++i, y += place.bar_height) {
    if (!std::isfinite(row.values[i])) continue;
    const double width = chart.x.at(row.values[i]) * (place.right - place.left);
    const std::string label =
        chart.x.percent ? percent(row.values[i]) : with_prefix(row.values[i], "");
    svg.area(place.left, y, std::max(1.0, width), place.bar_height - 2, {static_cast<int>(i)},
             fmt::format("{} {}", chart.categories[i], label));
    svg.text(place.left + width + 5, y + place.bar_height / 2 + 3, Anchor::start, label, "inside");
  }
}

}  // namespace

std::string draw(const BarChart& given, const std::string& id) {
  BarChart chart = given;
  if (chart.rows.empty()) return "";
  std::vector<double> values;
  double widest = 0;
  for (BarRow& row : chart.rows) {
    row.label = shortened(row.label, 30);
    widest = std::max(widest, text_width(row.label));
    values.insert(values.end(), row.values.begin(), row.values.end());
  }
  if (chart.stacked) {
    chart.x.percent = true;
    values = {0, 1};
  }
  if (std::none_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }))
    return "";
  chart.x.from_zero = true;
  chart.x.fit(values, 8);
  std::vector<LegendEntry> legend;
  if (chart.categories.size() > 1)
    for (std::size_t i = 0; i < chart.categories.size(); ++i)
      legend.push_back({chart.categories[i], {static_cast<int>(i)}, true, true, false, false});

  BarPlace place{};
  place.bar_height = chart.stacked ? 20 : 16;
  const std::size_t bars = chart.stacked ? 1 : chart.categories.size();
  place.row_height = place.bar_height * static_cast<double>(bars) + 9;
  place.left = 18 + widest;
  place.right = kWidth - (chart.stacked ? 24 : 70);
  Svg measure(0, 0, "", "");
  const double top = draw_legend(measure, legend, 24, false) + 12,
               bottom = top + place.row_height * static_cast<double>(chart.rows.size());
  Svg svg(kWidth, bottom + 44, chart.title, id);
  svg.text(10, 15, Anchor::start, chart.title, "title");
  draw_legend(svg, legend, 24, true);
  for (const double tick : chart.x.ticks) {
    const double x = place.left + chart.x.at(tick) * (place.right - place.left);
    svg.line(x, top, x, bottom, "rule");
    svg.text(x, bottom + 16, Anchor::middle, chart.x.label(tick), "faint");
  }
  svg.text((place.left + place.right) / 2, bottom + 36, Anchor::middle, chart.x.title, "faint");
  for (std::size_t i = 0; i < chart.rows.size(); ++i) {
    place.top = top + 4 + place.row_height * static_cast<double>(i);
    const double middle = place.top + place.bar_height * static_cast<double>(bars) / 2;
    svg.text(place.left - 8, middle + 4, Anchor::end, chart.rows[i].label);
    chart.stacked ? draw_stack(svg, chart, chart.rows[i], place)
                  : draw_bars(svg, chart, chart.rows[i], place);
  }
  return svg.str();
}

}  // namespace weft::report
