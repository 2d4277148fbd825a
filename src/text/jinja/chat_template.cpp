#include "text/jinja/chat_template.h"

#include "core/check.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace weft {
namespace {

constexpr std::size_t kMaxTemplateBytes = std::size_t{1} << 20;

}  // namespace

std::string apply_chat_template(const std::string& chat_template, const OrderedJson& messages,
                                bool add_generation_prompt, const OrderedJson& variables) {
  CHECK_USER(messages.is_array(), "the messages of a chat are {}; allowed: a list of objects",
             brief(messages));
  CHECK_USER(variables.is_object() || variables.is_null(),
             "the variables of a chat template are {}; allowed: an object", brief(variables));
  CHECK_USER(chat_template.size() <= kMaxTemplateBytes,
             "the chat template has {} bytes; allowed: {}", chat_template.size(),
             kMaxTemplateBytes);
  int line = 0;
  try {
    jinja::Budget budget;
    std::vector<std::pair<std::string, jinja::Value>> names;
    names.emplace_back("messages", jinja::from_json(messages));
    names.emplace_back("add_generation_prompt", jinja::boolean(add_generation_prompt));
    for (const char* absent : {"tools", "documents"}) {
      if (!variables.contains(absent)) names.emplace_back(absent, jinja::none());
    }
    if (variables.is_object()) {
      for (const auto& [key, value] : variables.items())
        names.emplace_back(key, jinja::from_json(value));
    }
    const jinja::Body body = jinja::parse(chat_template, line);
    return jinja::Interpreter(budget, line).render(body, std::move(names));
  } catch (const jinja::Fault& f) {
    if (line == 0) user_error("the chat's messages or variables: {}", f.message);
    user_error("chat template, line {}: {}", line, f.message);
  }
}

std::string apply_chat_template(const std::string& chat_template,
                                const std::vector<ChatMessage>& messages,
                                bool add_generation_prompt, const OrderedJson& variables) {
  OrderedJson list = OrderedJson::array();
  for (const ChatMessage& m : messages) list.push_back({{"role", m.role}, {"content", m.content}});
  return apply_chat_template(chat_template, list, add_generation_prompt, variables);
}

}  // namespace weft
