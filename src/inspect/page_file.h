// A page that is one file: a template of src/inspect/page with what it shows, and nothing of
// another place.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace weft {

std::string base64(std::span<const std::byte> bytes);

// `page` (inspect/page_templates.h) with `data` at its mark. UserError where there is no such
// folder, Error where it cannot be written; the file is whole or not there.
void write_page(const std::filesystem::path& file, std::string_view page, std::string_view data);

// A header for the page's scripts, and blobs beside it. They decode a blob when they first
// need it.
class PageFile {
 public:
  // `page`: a template (inspect/page_templates.h), with its mark for the data.
  explicit PageFile(std::string_view page) : page_(page) {}
  // Bytes beside the header; the name that the header calls them by.
  std::string add_blob(std::span<const std::byte> bytes) { return add_base64(base64(bytes)); }
  std::string add_base64(std::string blob);
  void write(const std::filesystem::path& file, const OrderedJson& header) const;  // as write_page

 private:
  std::string_view page_;
  std::vector<std::string> blobs_;  // base64
};

}  // namespace weft
