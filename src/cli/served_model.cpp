#include "cli/served_model.h"

#include <algorithm>

#include "infer/chat_prompt.h"
#include "io/files.h"

namespace weft {
namespace {

std::optional<std::string> template_of(const Session& session, const std::string& file) {
  const Tokenizer& tokenizer = session.need_tokenizer();
  if (!file.empty()) return read_text_file(file);
  if (tokenizer.chat_templates().empty()) return std::nullopt;
  return find_chat_template(tokenizer, "--model " + session.options.model);
}

}  // namespace

ServedModel served_model(const Session& session, const std::string& name,
                         const std::string& chat_template) {
  const Tokenizer& tokenizer = session.need_tokenizer();
  ServedModel m = {.name = name,
                   .config = session.config,
                   .tokenizer = tokenizer,
                   .file = session.generation_file(),
                   .seed = session.options.seed};
  m.chat_template = template_of(session, chat_template);
  m.chat_file = m.file;
  if (!m.chat_template) return m;
  for (const std::int32_t id : turn_ends(tokenizer, *m.chat_template))
    if (std::find(m.chat_file.eos.begin(), m.chat_file.eos.end(), id) == m.chat_file.eos.end())
      m.chat_file.eos.push_back(id);
  return m;
}

}  // namespace weft
