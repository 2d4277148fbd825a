// Numbers as a reader expects them.
#pragma once

#include <fmt/format.h>

#include <string>

namespace weft {

// The shortest decimal that reads back as the same float: 0.1f is written 0.1, not 0.10000000149.
inline double short_decimal(float x) { return std::stod(fmt::format("{}", x)); }

}  // namespace weft
