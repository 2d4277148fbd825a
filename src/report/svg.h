// The few primitives that charts are drawn from, as SVG text in an HTML page: nothing is fetched,
// nothing is run. Lengths are CSS pixels of the unscaled picture.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace weft::report {

enum class Anchor { start, middle, end };

// How a series is told from the others, on paper and without colours too.
struct SeriesStyle {
  int number = 0;
  std::string color() const;  // a CSS variable of style.h
  const char* dashes() const;
};

class Svg {
 public:
  // `title` is what a screen reader says; `id` begins the names of its patterns.
  Svg(double width, double height, const std::string& title, std::string id);

  void line(double x1, double y1, double x2, double y2, const char* css_class);
  void text(double x, double y, Anchor anchor, const std::string& text, const char* css_class = "");
  void text_upwards(double x, double y, const std::string& text);
  // A series' line; points that are not finite break it.
  void polyline(const std::vector<std::pair<double, double>>& points, SeriesStyle style);
  void dotted(const std::vector<std::pair<double, double>>& points);  // of what is ideal
  void marker(double x, double y, SeriesStyle style);
  void whisker(double x, double y_low, double y_high, SeriesStyle style);
  // An area in the style's colour and hatching; `name` is shown by a pointer that rests on it.
  void area(double x, double y, double width, double height, SeriesStyle style,
            const std::string& name);
  // What it holds as a legend: a sample of the line or the area at (x, y).
  void line_sample(double x, double y, SeriesStyle style, bool line, bool marker);
  void area_sample(double x, double y, SeriesStyle style);

  std::string str() const;

 private:
  void pattern(int number);

  double width_, height_;
  std::string title_, id_, patterns_, body_;
  std::vector<int> made_;  // patterns
};

// The width that a text takes, roughly and rather more, in 12 px sans serif.
double text_width(const std::string& text);

}  // namespace weft::report
