// How a model is talked to: its chat template, and the tokens that end a turn.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/json.h"
#include "text/tokenizer.h"

namespace weft {

// The default one of those that come with the tokenizer, or the only one. UserErrors begin with
// `what` ("--model X"): it has none, or several and none is the default.
std::string find_chat_template(const Tokenizer& tokenizer, const std::string& what);

// Special tokens with which a template ends a turn: what the model writes there too, even where its
// end token is another.
std::vector<std::int32_t> turn_ends(const Tokenizer& tokenizer, const std::string& chat_template);

// The tokens of a conversation (a list of objects with role and content), up to where the model
// answers. UserErrors as apply_chat_template's (text/jinja/chat_template.h).
std::vector<std::int32_t> chat_ids(const Tokenizer& tokenizer, const std::string& chat_template,
                                   const OrderedJson& messages);

}  // namespace weft
