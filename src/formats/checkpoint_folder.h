// A folder of checkpoints: step-00000100.h5, step-00000200.h5, …
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace weft {

// Its files, newest step first; none where there is no folder. Error where it cannot be read.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);
std::filesystem::path checkpoint_name(const std::filesystem::path& folder, std::int64_t step);
std::int64_t checkpoint_step(const std::filesystem::path& file);  // -1: not such a name

}  // namespace weft
