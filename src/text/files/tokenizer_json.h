// tokenizer.json, read.
#pragma once

#include <memory>
#include <string>

#include "text/files/companions.h"
#include "text/tokenizer_impl.h"

namespace weft {

// Reads a whole tokenizer.json, its "weft" key included; finish() is not called yet. What stands
// beside it, if anything, adds its tokens and roles.
std::shared_ptr<Tokenizer::Impl> parse_tokenizer(const Json& json, const std::string& origin,
                                                 const Companions* companions = nullptr);

}  // namespace weft
