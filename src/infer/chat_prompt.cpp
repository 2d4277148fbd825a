#include "infer/chat_prompt.h"

#include <fmt/ranges.h>

#include "core/check.h"
#include "text/jinja/chat_template.h"

namespace weft {

std::string find_chat_template(const Tokenizer& tokenizer, const std::string& what) {
  const auto& all = tokenizer.chat_templates();
  if (const auto found = all.find("default"); found != all.end()) return found->second;
  CHECK_USER(
      !all.empty(),
      "{}: its tokenizer has no chat template, so how it is talked to is not known; give one "
      "with --chat-template FILE, or use weft generate",
      what);
  std::vector<std::string> names;
  for (const auto& [name, unused] : all) names.push_back(name);
  CHECK_USER(all.size() == 1,
             "{}: its tokenizer has the chat templates {}, and none is the default; give one with "
             "--chat-template FILE",
             what, fmt::join(names, ", "));
  return all.begin()->second;
}

std::vector<std::int32_t> turn_ends(const Tokenizer& tokenizer, const std::string& chat_template) {
  std::vector<std::int32_t> ids;
  for (const char* text : {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>",
                           "<|end_of_turn|>", "<|eot|>"})
    if (const auto id = tokenizer.id(text);
        id && tokenizer.is_special(*id) && chat_template.find(text) != std::string::npos)
      ids.push_back(*id);
  return ids;
}

std::vector<std::int32_t> chat_ids(const Tokenizer& tokenizer, const std::string& chat_template,
                                   const OrderedJson& messages) {
  OrderedJson variables = OrderedJson::object();
  for (const auto& [role, content] : tokenizer.special_tokens()) variables[role] = content;
  const std::string prompt = apply_chat_template(chat_template, messages, true, variables);
  return tokenizer.encode(prompt, false).ids;  // the template writes the special tokens
}

}  // namespace weft
