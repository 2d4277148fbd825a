// A session's model as requests in OpenAI's forms are read against it (serve/request.h).
#pragma once

#include "cli/session.h"
#include "serve/request.h"

namespace weft {

// `name`: as requests call it. chat_template: a file, or empty for the tokenizer's own; without one
// there is no chat. The session outlives it. UserErrors: no tokenizer, no such file.
ServedModel served_model(const Session& session, const std::string& name,
                         const std::string& chat_template = "");

}  // namespace weft
