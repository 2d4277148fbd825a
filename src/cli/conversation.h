// A conversation as it is so far, and what a line of it asks for. Local: every rank holds the same.
#pragma once

#include <string>
#include <vector>

#include "core/json.h"
#include "text/jinja/chat_template.h"

namespace weft {

enum class ChatCommand : std::uint8_t { nothing, message, reset, system, undo, save, help, quit };

struct ChatLine {
  ChatCommand command = ChatCommand::nothing;
  std::string text = "";  // the message, or what follows the command
};

// A line that begins with a slash is a command, with two a message that begins with one; blank ones
// are nothing. UserErrors: no such command; one that takes no text, or needs some.
ChatLine read_chat_line(const std::string& line);
std::string chat_help();  // a line a command

class Conversation {
 public:
  explicit Conversation(const std::string& system) { set_system(system); }

  void reset() { turns_.clear(); }  // all but the system message
  void set_system(const std::string& text) { system_ = text; }
  const std::string& system() const { return system_; }  // empty: there is none
  void add(const std::string& question, const std::string& answer);
  void undo();  // the last question and its answer; UserError where there is none
  std::vector<ChatMessage> messages() const;

 private:
  std::string system_;
  std::vector<ChatMessage> turns_;  // questions, each with its answer behind it
};

// A list of objects with role and content.
OrderedJson json_of(const std::vector<ChatMessage>& messages);

}  // namespace weft
