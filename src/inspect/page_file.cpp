#include "inspect/page_file.h"

#include "core/check.h"
#include "io/files.h"

namespace weft {
namespace {

constexpr std::string_view kMark = "<!--data-->";

// JSON inside a script element: no text may end the element.
std::string in_script(const OrderedJson& header) {
  std::string out;
  for (const char c : json_text(header)) {
    if (c == '<')
      out += "\\u003c";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string base64(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t three = 0;
    for (std::size_t i = 0; i < 3; ++i)
      three = three << 8 | (i < n ? std::to_integer<std::uint32_t>(bytes[at + i]) : 0);
    for (std::size_t i = 0; i < 4; ++i) out += i <= n ? kDigits[three >> (18 - 6 * i) & 63] : '=';
  }
  return out;
}

std::string PageFile::add_base64(std::string blob) {
  blobs_.push_back(std::move(blob));
  return fmt::format("b{}", blobs_.size() - 1);
}

void write_page(const std::filesystem::path& file, std::string_view page, std::string_view data) {
  const std::size_t mark = page.find(kMark);
  CHECK(mark != std::string_view::npos, "a page without {}", kMark);
  std::string out;
  out.reserve(page.size() + data.size());
  out += page.substr(0, mark);
  out += data;
  out += page.substr(mark + kMark.size());
  write_file_atomically(file, out);
}

void PageFile::write(const std::filesystem::path& file, const OrderedJson& header) const {
  std::string data =
      fmt::format("<script id=\"weft\" type=\"application/json\">{}</script>\n", in_script(header));
  for (std::size_t i = 0; i < blobs_.size(); ++i)
    data += fmt::format("<script id=\"b{}\" type=\"application/octet-stream\">{}</script>\n", i,
                        blobs_[i]);
  write_page(file, page_, data);
}

}  // namespace weft
