// Chat templates: the Jinja2 text beside a tokenizer that turns a conversation into the model's
// prompt, rendered as transformers does (trim_blocks, lstrip_blocks, loop controls, its tojson, its
// sandbox). The subset is what public models' templates use: jinja_*.h.
#pragma once

#include <string>
#include <vector>

#include "io/json.h"

namespace weft {

struct ChatMessage {
  std::string role, content;
};

// `messages` is a list of objects with role and content, and whatever else the template reads
// (tool_calls, …). `variables` are its other names: bos_token, eos_token, tools, …; tools and
// documents are none unless given. Keys keep their order, which tojson shows. UserError, with the
// template's line, where it is no template, uses what is not supported, refuses the messages
// (raise_exception), or does not end within bounds on steps, depth and text.
std::string apply_chat_template(const std::string& chat_template, const OrderedJson& messages,
                                bool add_generation_prompt, const OrderedJson& variables);
std::string apply_chat_template(const std::string& chat_template,
                                const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt, const OrderedJson& variables);

}  // namespace weft
