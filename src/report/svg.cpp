#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "io/html.h"
#include "report/amounts.h"
#include "report/style.h"

namespace weft::report {
namespace {

constexpr const char* kDashes[] = {"",     "7 3", "2 3",         "9 3 2 3",
                                   "12 4", "4 2", "9 3 2 3 2 3", "1 4"};

constexpr std::size_t kDense = 300;  // points of a line that is drawn thinner

// Of each pattern: lines across a tile of 8 x 8, drawn in the paper's colour.
constexpr const char* kHatches[] = {
    "",
    "M-2 2L2 -2M0 8L8 0M6 10L10 6",
    "M-2 6L2 10M0 0L8 8M6 -2L10 2",
    "M0 4H8",
    "M4 0V8",
    "M0 4H8M4 0V8",
    "M0 0L8 8M0 8L8 0",
    "M2 2h1M6 6h1",
};

std::string points_text(const std::vector<std::pair<double, double>>& points, std::size_t from,
                        std::size_t to) {
  std::string out;
  for (std::size_t i = from; i < to; ++i)
    out += fmt::format("{}{:.1f},{:.1f}", i > from ? " " : "", points[i].first, points[i].second);
  return out;
}

bool drawable(const std::pair<double, double>& p) {
  return std::isfinite(p.first) && std::isfinite(p.second);
}

}  // namespace

std::string SeriesStyle::color() const { return fmt::format("var(--c{})", number % kChartColors); }

// Past the eighth series a colour comes with other dashes.
const char* SeriesStyle::dashes() const {
  return kDashes[(number + number / kChartColors) % std::size(kDashes)];
}

double text_width(const std::string& text) { return 7.0 * static_cast<double>(columns_of(text)); }

Svg::Svg(double width, double height, const std::string& title, std::string id)
    : width_(width), height_(height), title_(title), id_(std::move(id)) {}

void Svg::line(double x1, double y1, double x2, double y2, const char* css_class) {
  body_ += fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" "
      "class=\"{}\"/>\n",
      x1, y1, x2, y2, css_class);
}

void Svg::text(double x, double y, Anchor anchor, const std::string& text, const char* css_class) {
  const char* word = anchor == Anchor::start ? "" : anchor == Anchor::middle ? "middle" : "end";
  body_ +=
      fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}{}>{}</text>\n", x, y,
                  *word ? fmt::format(" text-anchor=\"{}\"", word) : "",
                  *css_class ? fmt::format(" class=\"{}\"", css_class) : "", escape_html(text));
}

void Svg::text_upwards(double x, double y, const std::string& text) {
  body_ += fmt::format(
      "<text transform=\"translate({:.1f} {:.1f}) rotate(-90)\" "
      "text-anchor=\"middle\" class=\"faint\">{}</text>\n",
      x, y, escape_html(text));
}

void Svg::polyline(const std::vector<std::pair<double, double>>& points, SeriesStyle style) {
  for (std::size_t begin = 0; begin < points.size();) {
    std::size_t end = begin;
    while (end < points.size() && drawable(points[end])) ++end;
    if (end - begin >= 2)
      body_ += fmt::format(
          "<polyline class=\"line{}\" stroke=\"{}\"{} points=\"{}\"/>\n",
          end - begin > kDense ? " dense" : "", style.color(),
          *style.dashes() ? fmt::format(" stroke-dasharray=\"{}\"", style.dashes()) : "",
          points_text(points, begin, end));
    else if (end - begin == 1)
      marker(points[begin].first, points[begin].second, style);
    begin = end + 1;
  }
}

void Svg::dotted(const std::vector<std::pair<double, double>>& points) {
  body_ += fmt::format("<polyline class=\"ideal\" points=\"{}\"/>\n",
                       points_text(points, 0, points.size()));
}

void Svg::marker(double x, double y, SeriesStyle style) {
  const std::string shape[] = {
      fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.4\"", x, y),
      fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"6.4\" height=\"6.4\"", x - 3.2, y - 3.2),
      fmt::format("<path d=\"M{:.1f} {:.1f}l4 7h-8z\"", x, y - 4.2),
      fmt::format("<path d=\"M{:.1f} {:.1f}l4.2 4.2l-4.2 4.2l-4.2 -4.2z\"", x, y - 4.2),
      fmt::format("<path d=\"M{:.1f} {:.1f}l4 -7h-8z\"", x, y + 4.2),
  };
  const bool hollow = style.number % 8 >= 5;
  body_ +=
      fmt::format("{} fill=\"{}\" stroke=\"{}\" stroke-width=\"1.5\"/>\n", shape[style.number % 5],
                  hollow ? "var(--paper)" : style.color(), style.color());
}

void Svg::whisker(double x, double y_low, double y_high, SeriesStyle style) {
  body_ += fmt::format(
      "<path d=\"M{0:.1f} {2:.1f}h6m-3 0V{1:.1f}m-3 0h6\" stroke=\"{3}\" "
      "fill=\"none\"/>\n",
      x - 3, y_low, y_high, style.color());
}

void Svg::pattern(int number) {
  if (std::find(made_.begin(), made_.end(), number) != made_.end()) return;
  made_.push_back(number);
  const int kind = number % static_cast<int>(std::size(kHatches));
  patterns_ += fmt::format(
      "<pattern id=\"{}h{}\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect "
      "width=\"8\" height=\"8\" fill=\"{}\"/><path d=\"{}\" class=\"hatch\" "
      "stroke-width=\"1.2\"/></pattern>\n",
      id_, number, SeriesStyle{number}.color(), *kHatches[kind] ? kHatches[kind] : "M0 0");
}

void Svg::area(double x, double y, double width, double height, SeriesStyle style,
               const std::string& name) {
  pattern(style.number);
  body_ += fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
      "fill=\"url(#{}h{})\" stroke=\"var(--paper)\" stroke-width=\".7\">"
      "<title>{}</title></rect>\n",
      x, y, width, height, id_, style.number, escape_html(name));
}

void Svg::line_sample(double x, double y, SeriesStyle style, bool line, bool with_marker) {
  if (line) polyline({{x, y}, {x + 26, y}}, style);
  if (with_marker) marker(x + 13, y, style);
}

void Svg::area_sample(double x, double y, SeriesStyle style) {
  area(x + 8, y - 6, 16, 12, style, "");
}

std::string Svg::str() const {
  return fmt::format(
      "<svg viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">\n{}{}"
      "</svg>\n",
      width_, height_, escape_html(title_),
      patterns_.empty() ? "" : "<defs>\n" + patterns_ + "</defs>\n", body_);
}

}  // namespace weft::report
