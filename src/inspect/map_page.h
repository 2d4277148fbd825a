// The page that shows vectors as dots: their two principal components.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace weft {

struct MapPoint {
  std::string label, id;
  std::size_t group = 0;
  bool asked = false;  // drawn larger, its name first
};
struct MapPage {
  std::string title, made_by, command;
  std::string what;                 // "tokens", "texts"
  std::vector<std::string> groups;  // names; a colour each
  std::vector<MapPoint> points;
};
constexpr std::size_t kMostMapPoints = 20'000;

// vectors (points, width) fp32. Of more points than kMostMapPoints every so many-th is shown, and
// the page says so. Errors as PageFile's; UserError where a vector is not finite.
void write_map_page(const MapPage& page, std::span<const float> vectors, std::int64_t width,
                    const std::filesystem::path& file);

}  // namespace weft
