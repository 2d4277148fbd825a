#include "cli/conversation.h"

#include "core/check.h"
#include "core/spelling.h"
#include "core/utf8.h"

namespace weft {
namespace {

enum class Takes : std::uint8_t { nothing, maybe_text, text };

struct Command {
  ChatCommand command;
  const char *word, *shown, *what;
  Takes takes;
};

constexpr Command kCommands[] = {
    {ChatCommand::reset, "/reset", "/reset", "begins anew; the system message stays",
     Takes::nothing},
    {ChatCommand::undo, "/undo", "/undo", "takes back the last question and its answer",
     Takes::nothing},
    {ChatCommand::system, "/system", "/system [TEXT]",
     "sets the system message, or shows the one there is", Takes::maybe_text},
    {ChatCommand::save, "/save", "/save FILE", "writes the conversation as JSON", Takes::text},
    {ChatCommand::help, "/help", "/help", "lists these", Takes::nothing},
    {ChatCommand::quit, "/quit", "/quit", "ends, as the end of stdin does", Takes::nothing},
};

constexpr const char* kBlank = " \t";

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

}  // namespace

ChatLine read_chat_line(const std::string& line) {
  if (trimmed(line).empty()) return {};
  if (!line.starts_with('/')) return {ChatCommand::message, line};
  if (line.starts_with("//")) return {ChatCommand::message, line.substr(1)};
  const std::size_t end = std::min(line.find_first_of(kBlank), line.size());
  const std::string word = line.substr(0, end), rest = trimmed(line.substr(end));
  std::vector<std::string> words;
  for (const Command& c : kCommands) {
    words.emplace_back(c.word);
    if (word != c.word) continue;
    CHECK_USER(c.takes != Takes::nothing || rest.empty(),
               "{} is followed by '{}'; allowed: nothing", word, made_utf8(rest));
    CHECK_USER(c.takes != Takes::text || !rest.empty(), "{} is followed by nothing; allowed: {}",
               word, c.shown);
    return {c.command, rest};
  }
  user_error(
      "a conversation has no command '{}'{}; /help lists them, and a line that begins with // is a "
      "message that begins with /",
      made_utf8(word), suggestion(word, words));
}

std::string chat_help() {
  std::string text;
  for (const Command& c : kCommands) text += fmt::format("{:<14}  {}\n", c.shown, c.what);
  return text + fmt::format("{:<14}  {}\n", "//TEXT", "sends /TEXT");
}

void Conversation::add(const std::string& question, const std::string& answer) {
  turns_.push_back({.role = "user", .content = question});
  turns_.push_back({.role = "assistant", .content = answer});
}

void Conversation::undo() {
  CHECK_USER(!turns_.empty(), "/undo: no question has been answered");
  turns_.resize(turns_.size() - 2);
}

std::vector<ChatMessage> Conversation::messages() const {
  std::vector<ChatMessage> all;
  if (!system_.empty()) all.push_back({.role = "system", .content = system_});
  all.insert(all.end(), turns_.begin(), turns_.end());
  return all;
}

OrderedJson json_of(const std::vector<ChatMessage>& messages) {
  OrderedJson list = OrderedJson::array();
  for (const ChatMessage& m : messages) list.push_back({{"role", m.role}, {"content", m.content}});
  return list;
}

}  // namespace weft
