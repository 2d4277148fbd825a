// config.json from a GGUF file's metadata.
#pragma once

#include "formats/families/families.h"

namespace weft {

// The object that transformers' config.json of the same model would be, as far as the file tells:
// sizes under the row's ConfigKeys, then its GgufRow's settings.
// Llama 3's scaling of RoPE comes as a tensor of factors: it is turned back into rope_scaling where
// that gives the same factors, else it is "rope_factors", a list of what divides each frequency,
// which is Weft's own key. UserErrors name the file, the key and what is allowed.
Json hf_config_of_gguf(const GgufReader& file, const Family& row);

}  // namespace weft
