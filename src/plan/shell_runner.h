// The evaluator behind run_shell(): its state, expansion (shell_words.cpp) and commands
// (shell_run.cpp).
#pragma once

#include <list>

#include "plan/shell_run.h"

namespace weft {

struct ShellValue {
  std::vector<std::string> items;  // one, unless it is an array
  bool array = false, exported = false;
};

class ShellRunner {
 public:
  explicit ShellRunner(const ShellFacts& facts);
  void list(const ShellList& nodes);
  ShellRun take() { return std::move(out_); }

 private:
  // What a subshell changes for itself alone.
  struct State {
    std::map<std::string, ShellValue> variables;
    std::vector<std::string> positional;
    std::string folder;
    bool moved = false;
  };
  struct Mode {
    bool background = false, perhaps = false, in_loop = false;
  };
  enum class Truth : std::uint8_t { no, yes, unknown };
  struct Fields {
    std::vector<std::string> done;
    std::string current;
    bool started = false;
    void end();
  };

  // ---- commands
  Truth node(const ShellNode& node);
  Truth run(const ShellNode& node);
  Truth command(const ShellNode& node);
  Truth builtin(const ShellNode& node, const std::vector<std::string>& words, bool& known);
  Truth call(const ShellList& body, const std::vector<std::string>& words);
  void if_(const ShellNode& node);
  void for_(const ShellNode& node);
  void while_(const ShellNode& node);
  void case_(const ShellNode& node);
  void perhaps(const std::vector<const ShellList*>& branches, bool one_of_them);
  void merge(const State& other);
  void launch_kit();
  void change_folder(const std::vector<std::string>& words);
  void read_variables(const ShellNode& node, const std::vector<std::string>& words);
  void record(const ShellNode& node, std::vector<std::string> words,
              const std::map<std::string, std::string>& before);
  Truth test(const std::vector<std::string>& words) const;
  bool assignment(const std::string& raw, bool exported, bool local);
  void set(const std::string& name, ShellValue value);

  // ---- words
  std::vector<std::string> expand(const std::string& raw);
  std::string expand_text(const std::string& raw);  // without splitting: one text
  void expand_into(std::string_view raw, bool quoted, bool splits, Fields& fields, int depth);
  void dollar(std::string_view raw, std::size_t& at, bool quoted, bool splits, Fields& fields,
              int depth);
  void braces(const std::string& inner, bool quoted, bool splits, Fields& fields, int depth);
  void put(Fields& fields, const std::vector<std::string>& items, bool quoted, bool splits) const;
  std::vector<std::string> value_of_name(const std::string& name, bool& is_set);
  std::string unset(const std::string& name);
  std::string operated(const std::string& name, const std::string& value,
                       const std::string& operation, int depth);
  std::string arithmetic_text(std::string_view raw, int depth);
  std::string command_value(const std::string& text, int depth);
  std::optional<std::string> plain_value(const std::string& text, int depth);

  const ShellFacts& facts_;
  State state_;
  Mode mode_;
  std::map<std::string, const ShellList*> functions_;
  std::list<ShellScript> substituted_;
  ShellRun out_;
  int line_ = 0, calls_ = 0, budget_ = 20'000;
  bool ended_ = false;
};

}  // namespace weft
