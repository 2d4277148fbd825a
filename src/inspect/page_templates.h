// The pages that weft writes, without their data: put together at build time from the files of
// src/inspect/page (cmake/inline_page.cmake). A writer puts its data at the line `<!--data-->`.
#pragma once

#include <string_view>

namespace weft {

extern const std::string_view kAttentionPage, kMapPage, kTokensPage;

}  // namespace weft
