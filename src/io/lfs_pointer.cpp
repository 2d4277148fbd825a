#include "io/lfs_pointer.h"

#include "core/check.h"

namespace weft {

void refuse_lfs_pointer(const std::string& file, std::string_view content) {
  CHECK_USER(!content.starts_with("version https://git-lfs.github.com/spec/"),
             "{}: is a Git LFS pointer, which stands for the file; fetch the file itself with "
             "`git lfs pull` in its folder",
             file);
}

}  // namespace weft
