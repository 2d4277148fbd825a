// Texts of other people inside HTML or SVG.
#pragma once

#include <string>
#include <string_view>

namespace weft {

std::string escape_html(std::string_view text);  // printable (core/utf8.h), and no markup

}  // namespace weft
