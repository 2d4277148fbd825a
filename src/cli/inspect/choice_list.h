// Lists of layers or heads as a command is given them: "0,3-5".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft {

// Numbers of [0, n), rising, each once; all of them where the text is empty. UserErrors name the
// flag, the part that is wrong and what is allowed.
std::vector<std::int64_t> parse_choice(const std::string& flag, const std::string& text,
                                       std::int64_t n);

}  // namespace weft
