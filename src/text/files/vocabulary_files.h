// Directories without tokenizer.json: what Hugging Face's tokenizer classes make of vocab.json +
// merges.txt and of vocab.txt.
#pragma once

#include "io/json.h"
#include "text/files/companions.h"

namespace weft {

// The tokenizer.json that Hugging Face's class would make of the directory's files: vocab.json +
// merges.txt, or vocab.txt.
Json tokenizer_json_of_vocabulary(const Companions& companions);

}  // namespace weft
