// Git LFS keeps large files elsewhere and leaves a few lines of text in their place until
// `git lfs pull`.
#pragma once

#include <string>
#include <string_view>

namespace weft {

// UserError where `content`, the whole of the file or its beginning, is such a text.
void refuse_lfs_pointer(const std::string& file, std::string_view content);

}  // namespace weft
