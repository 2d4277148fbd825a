#include "inspect/map_page.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/utf8.h"
#include "inspect/page_file.h"
#include "inspect/page_templates.h"
#include "inspect/projection.h"

namespace weft {
namespace {

constexpr std::size_t kLongestLabel = 160;  // bytes

std::string short_label(const std::string& label) {
  if (label.size() <= kLongestLabel) return made_utf8(label);
  std::size_t end = kLongestLabel;
  while (end > 0 && (static_cast<unsigned char>(label[end]) & 0xC0) == 0x80) --end;
  return made_utf8(label.substr(0, end)) + "…";
}

}  // namespace

void write_map_page(const MapPage& page, std::span<const float> vectors, std::int64_t width,
                    const std::filesystem::path& file) {
  const auto C = static_cast<std::size_t>(width);
  CHECK(vectors.size() == page.points.size() * C, "{} numbers for {} points of {}", vectors.size(),
        page.points.size(), width);
  const std::size_t stride = (page.points.size() + kMostMapPoints - 1) / kMostMapPoints;
  std::vector<float> kept;
  OrderedJson points = OrderedJson::array();
  for (std::size_t i = 0; i < page.points.size(); i += stride) {
    const MapPoint& p = page.points[i];
    const auto row = vectors.subspan(i * C, C);
    CHECK_USER(std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); }),
               "the vector of '{}' is not finite (NaN or infinity)", in_message(p.label));
    kept.insert(kept.end(), row.begin(), row.end());
    points.push_back({{"label", short_label(p.label)},
                      {"id", made_utf8(p.id)},
                      {"group", p.group},
                      {"asked", p.asked}});
  }
  const Projection projection = principal_components(kept, width);
  std::vector<float> places;
  for (const auto& [x, y] : projection.points) {
    places.push_back(static_cast<float>(x));
    places.push_back(static_cast<float>(y));
  }
  OrderedJson header = {{"format", 1},
                        {"title", made_utf8(page.title)},
                        {"made_by", page.made_by},
                        {"command", page.command},
                        {"what", page.what},
                        {"note", ""},
                        {"explained", projection.explained},
                        {"groups", page.groups},
                        {"points", points}};
  if (stride > 1)
    header["note"] =
        fmt::format("There are {}; one of every {} is shown.", page.points.size(), stride);
  PageFile out(kMapPage);
  out.add_blob(std::as_bytes(std::span<const float>(places)));
  out.write(file, header);
}

}  // namespace weft
