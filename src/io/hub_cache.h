// Models that Hugging Face's tools have downloaded to this machine, found by their names. Nothing
// here touches the network.
#pragma once

#include <filesystem>
#include <string>

namespace weft {

// Where they are: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
// XDG_CACHE_HOME/huggingface/hub or ~/.cache/huggingface/hub, as huggingface_hub chooses.
std::filesystem::path hub_cache();

// The path that `name`, given as `option`, means: itself where something is there or it cannot be a
// name ("org/name" or "name"), else the folder of refs/main's snapshot. UserError that says where
// it was looked for.
std::string find_model(const std::string& name, const std::string& option);

}  // namespace weft
