#include "plan/shell_run.h"

#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <utility>

#include "plan/shell_runner.h"

namespace weft {
namespace {

bool is_name(std::string_view text) {
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text[0]))) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  });
}

// Of NAME=… and NAME+=…: where the = is; npos: it is no assignment.
std::size_t equals_of(const std::string& raw) {
  const std::size_t at = raw.find('=');
  if (at == std::string::npos || at == 0) return std::string::npos;
  std::string name = raw.substr(0, raw[at - 1] == '+' ? at - 1 : at);
  if (name.ends_with(']') && name.find('[') != std::string::npos)
    name = name.substr(0, name.find('['));
  return is_name(name) ? at : std::string::npos;
}

}  // namespace

ShellRunner::ShellRunner(const ShellFacts& facts) : facts_(facts) {
  for (const auto& [name, value] : facts.variables) state_.variables[name] = {{value}, false, true};
  state_.folder = facts.folder;
}

void ShellRunner::list(const ShellList& nodes) {
  Truth last = Truth::yes;
  for (std::size_t i = 0; i < nodes.size() && !ended_; ++i) {
    const ShellNode& n = nodes[i];
    const bool skipped = (n.join == ShellJoin::and_then && last == Truth::no) ||
                         (n.join == ShellJoin::or_else && last == Truth::yes);
    if (skipped) continue;
    const bool piped =
        n.join == ShellJoin::pipe || (i + 1 < nodes.size() && nodes[i + 1].join == ShellJoin::pipe);
    const bool chosen =
        (n.join == ShellJoin::and_then || n.join == ShellJoin::or_else) && last == Truth::unknown;
    const Mode before = mode_;
    mode_.background |= n.background;
    if (chosen || piped) {  // what it changes may not be, or is a subshell's
      const State kept = state_;
      const bool was_ended = ended_;
      mode_.perhaps |= chosen;
      const Truth truth = node(n);
      if (piped)
        state_ = kept;
      else if (ended_)
        state_ = kept;  // it went on only where this did not run
      else
        merge(kept);
      ended_ = was_ended;
      // a || b: true where either is; a && b: not known more than before
      last = piped ? truth : Truth::unknown;
    } else {
      last = node(n);
    }
    mode_ = before;
  }
}

ShellRunner::Truth ShellRunner::node(const ShellNode& n) {
  if (--budget_ < 0) return Truth::unknown;
  const Truth truth = run(n);
  if (!n.negated || truth == Truth::unknown) return truth;
  return truth == Truth::yes ? Truth::no : Truth::yes;
}

ShellRunner::Truth ShellRunner::run(const ShellNode& n) {
  line_ = n.line;
  switch (n.kind) {
    case ShellKind::command:
      return command(n);
    case ShellKind::if_:
      if_(n);
      break;
    case ShellKind::for_:
      for_(n);
      break;
    case ShellKind::while_:
      while_(n);
      break;
    case ShellKind::case_:
      case_(n);
      break;
    case ShellKind::function:
      functions_[n.name] = &n.body;
      return Truth::yes;
    case ShellKind::group:
      list(n.body);
      break;
    case ShellKind::subshell: {
      const State before = state_;
      const bool ended = ended_;
      list(n.body);
      state_ = before;
      ended_ = ended;
      break;
    }
  }
  return Truth::unknown;
}

// Variables that differ are not known any more.
void ShellRunner::merge(const State& other) {
  for (auto& [name, value] : state_.variables) {
    const auto at = other.variables.find(name);
    if (at != other.variables.end() && at->second.items == value.items) continue;
    value.items = {unknown_text(name)};
  }
  for (const auto& [name, value] : other.variables)
    if (!state_.variables.contains(name))
      state_.variables[name] = {{unknown_text(name)}, value.array, value.exported};
  if (state_.folder != other.folder) state_.folder.clear();
  state_.moved |= other.moved;
}

// Branches of which one runs, or any number, nobody knows which.
void ShellRunner::perhaps(const std::vector<const ShellList*>& branches, bool one_of_them) {
  const State before = state_;
  const Mode mode = mode_;
  mode_.perhaps = true;
  std::vector<State> after;
  if (!one_of_them) after.push_back(before);
  for (const ShellList* branch : branches) {
    state_ = before;
    ended_ = false;
    list(*branch);
    if (!ended_) after.push_back(state_);  // else nothing comes after it
  }
  mode_ = mode;
  ended_ = after.empty();
  if (after.empty()) return;
  state_ = after[0];
  for (std::size_t i = 1; i < after.size(); ++i) merge(after[i]);
}

void ShellRunner::if_(const ShellNode& n) {
  Truth truth = Truth::yes;
  if (n.condition.size() == 1)
    truth = node(n.condition[0]);
  else
    list(n.condition), truth = Truth::unknown;
  if (ended_) return;
  if (truth == Truth::yes)
    list(n.body);
  else if (truth == Truth::no)
    list(n.others);
  else
    perhaps({&n.body, &n.others}, true);
}

void ShellRunner::for_(const ShellNode& n) {
  std::vector<std::string> items;
  for (const std::string& word : n.words)
    for (std::string& item : expand(word)) items.push_back(std::move(item));
  const bool plain = !n.name.empty() && !items.empty() && items.size() <= 64 &&
                     std::all_of(items.begin(), items.end(), [](const std::string& item) {
                       return is_known(item) && item.find_first_of("*?[{") == std::string::npos;
                     });
  const bool in_loop = std::exchange(mode_.in_loop, true);
  if (plain) {
    for (const std::string& item : items) {
      set(n.name, {{item}, false, false});
      list(n.body);
      if (ended_) break;
    }
  } else {
    if (is_name(n.name)) set(n.name, {{unknown_text(n.name)}, false, false});
    perhaps({&n.body}, false);
  }
  mode_.in_loop = in_loop;
}

void ShellRunner::while_(const ShellNode& n) {
  list(n.condition);
  const bool in_loop = std::exchange(mode_.in_loop, true);
  // Twice: what the first round changes is not known in the second.
  perhaps({&n.body}, false);
  mode_.in_loop = in_loop;
}

void ShellRunner::case_(const ShellNode& n) {
  const std::string subject = n.words.empty() ? "" : expand_text(n.words[0]);
  std::vector<const ShellList*> all;
  bool otherwise = false;
  for (const ShellArm& arm : n.arms) {
    for (const std::string& raw : arm.patterns) {
      const std::string pattern = expand_text(raw);
      otherwise |= pattern == "*";
      if (is_known(subject) && is_known(pattern) &&
          ::fnmatch(pattern.c_str(), subject.c_str(), 0) == 0)
        return list(arm.body);
    }
    all.push_back(&arm.body);
  }
  if (!is_known(subject)) perhaps(all, otherwise);
}

void ShellRunner::set(const std::string& name, ShellValue value) {
  ShellValue& slot = state_.variables[name];
  value.exported |= slot.exported;
  slot = std::move(value);
}

// NAME=value, NAME+=value, NAME=(…); false: it is none.
bool ShellRunner::assignment(const std::string& raw, bool exported, bool) {
  const std::size_t at = equals_of(raw);
  if (at == std::string::npos) return false;
  const bool adds = raw[at - 1] == '+';
  const std::string name = raw.substr(0, adds ? at - 1 : at), right = raw.substr(at + 1);
  ShellValue value = {{}, false, exported};
  if (right.starts_with("(") && right.ends_with(")")) {
    value.array = true;
    // The words within are those of a command.
    substituted_.push_back(parse_shell("x " + right.substr(1, right.size() - 2), line_));
    for (const ShellNode& n : substituted_.back().commands)
      for (const std::string& word : n.words)
        if (&word != &substituted_.back().commands[0].words[0])
          for (std::string& item : expand(word)) value.items.push_back(std::move(item));
  } else {
    value.items = {expand_text(right)};
  }
  if (name.ends_with(']')) {  // an element: the array is not followed
    const std::string array = name.substr(0, name.find('['));
    set(array, {{unknown_text(array)}, true, false});
    return true;
  }
  if (adds) {
    ShellValue old = state_.variables[name];
    if (value.array || old.array)
      old.items.insert(old.items.end(), value.items.begin(), value.items.end());
    else
      old.items = {(old.items.empty() ? "" : old.items[0]) + value.items[0]};
    old.array |= value.array;
    value.items = old.items;
    value.array = old.array;
  }
  set(name, std::move(value));
  return true;
}

ShellRunner::Truth ShellRunner::command(const ShellNode& n) {
  std::map<std::string, std::string> before;
  std::size_t first = 0;
  while (first < n.words.size() && equals_of(n.words[first]) != std::string::npos) ++first;
  if (first == n.words.size()) {
    for (const std::string& word : n.words) assignment(word, false, false);
    return Truth::yes;
  }
  for (std::size_t i = 0; i < first; ++i) {
    const std::size_t at = n.words[i].find('=');
    before[n.words[i].substr(0, at)] = expand_text(n.words[i].substr(at + 1));
  }
  static const std::vector<std::string> kDeclare = {"export", "local", "declare", "typeset",
                                                    "readonly"};
  if (std::find(kDeclare.begin(), kDeclare.end(), n.words[first]) != kDeclare.end()) {
    bool exported = n.words[first] == "export";
    for (std::size_t i = first + 1; i < n.words.size(); ++i) {
      const std::string& word = n.words[i];
      if (word.starts_with("-")) {
        exported |= word.find('x') != std::string::npos;
      } else if (!assignment(word, exported, false) && is_name(word)) {
        const auto at = state_.variables.find(word);
        if (at != state_.variables.end()) at->second.exported |= exported;
      }
    }
    return Truth::yes;
  }
  std::vector<std::string> words;
  const bool test = n.words[first] == "[[";
  for (std::size_t i = first; i < n.words.size(); ++i) {
    if (test)
      words.push_back(expand_text(n.words[i]));
    else
      for (std::string& word : expand(n.words[i])) words.push_back(std::move(word));
  }
  if (words.empty()) return Truth::unknown;
  const auto function = functions_.find(words[0]);
  if (function != functions_.end()) return call(*function->second, words);
  bool known = false;
  const Truth truth = builtin(n, words, known);
  if (!known) record(n, std::move(words), before);
  return truth;
}

ShellRunner::Truth ShellRunner::call(const ShellList& body, const std::vector<std::string>& words) {
  if (calls_ >= 8) return Truth::unknown;
  ++calls_;
  const std::vector<std::string> before =
      std::exchange(state_.positional, {words.begin() + 1, words.end()});
  const int line = line_;
  list(body);
  line_ = line;
  state_.positional = before;
  --calls_;
  return Truth::unknown;
}

// What launch/job.sh sets where the script has not.
void ShellRunner::launch_kit() {
  const auto unset = [&](const char* name) { return !state_.variables.contains(name); };
  const auto number = [&](const char* name, std::int64_t value) {
    if (unset(name) && value > 0) set(name, {{std::to_string(value)}, false, false});
  };
  number("WEFT_RANKS_PER_NODE", facts_.kit_ranks);
  if (unset("WEFT_RANKS_PER_NODE")) return;
  const auto ranks = whole_number(state_.variables.at("WEFT_RANKS_PER_NODE").items[0]);
  if (ranks && *ranks > 0) number("WEFT_THREADS", std::max<std::int64_t>(1, facts_.cores / *ranks));
}

void ShellRunner::change_folder(const std::vector<std::string>& words) {
  state_.moved = true;
  std::string to;
  for (std::size_t i = 1; i < words.size(); ++i)
    if (!words[i].starts_with("-") || words[i] == "-") to = words[i];
  if (to.empty() || to == "-" || !is_known(to) || to.starts_with("~"))
    state_.folder.clear();
  else if (to.starts_with("/"))
    state_.folder = to;
  else if (!state_.folder.empty())
    state_.folder = (std::filesystem::path(state_.folder) / to).lexically_normal().string();
}

// read, mapfile: from a here-string where there is one.
void ShellRunner::read_variables(const ShellNode& n, const std::vector<std::string>& words) {
  std::vector<std::string> names;
  bool array = words[0] != "read";
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i].starts_with("-") && words[i].find('a') != std::string::npos) array = true;
    if (is_name(words[i])) names.push_back(words[i]);
  }
  const bool here = n.inputs.size() == 1 && n.inputs[0].starts_with("<<<") && names.size() == 1;
  for (const std::string& name : names) {
    ShellValue value = {{unknown_text(name)}, array, false};
    if (here) {
      const std::string text = expand_text(n.inputs[0].substr(3));
      if (is_known(text)) {
        Fields fields;
        put(fields, {text}, false, array);
        fields.end();
        value.items = fields.done;
      }
    }
    set(name, std::move(value));
  }
}

ShellRunner::Truth ShellRunner::builtin(const ShellNode& n, const std::vector<std::string>& words,
                                        bool& known) {
  const std::string& what = words[0];
  known = true;
  if (what == "[" || what == "test" || what == "[[") return test(words);
  if (what == "true" || what == ":") return Truth::yes;
  if (what == "false") return Truth::no;
  if (what == "cd" || what == "pushd") {
    change_folder(words);
    return Truth::yes;  // as a script that goes on takes it
  }
  if (what == "exit" || what == "return") {
    ended_ |= what == "exit" && !mode_.in_loop;
    return Truth::unknown;
  }
  if (what == "read" || what == "mapfile" || what == "readarray") {
    read_variables(n, words);
    return Truth::yes;
  }
  if (what == "unset") {
    for (const std::string& word : words) state_.variables.erase(word);
    return Truth::yes;
  }
  if (what == "shift") {
    const std::size_t by = words.size() > 1 ? static_cast<std::size_t>(std::max<std::int64_t>(
                                                  0, whole_number(words[1]).value_or(1)))
                                            : 1;
    auto& p = state_.positional;
    p.erase(p.begin(), p.begin() + static_cast<std::ptrdiff_t>(std::min(by, p.size())));
    return Truth::yes;
  }
  if (what == "." || what == "source") {
    out_.sourced = true;
    known = false;
    if (words.size() > 1 && words[1].ends_with("/job.sh")) launch_kit();
    return Truth::yes;
  }
  if (what == "let" || what == "eval") {  // what they set is not followed
    out_.sourced = true;
    for (std::size_t i = 1; i < words.size(); ++i) {
      const std::string name = words[i].substr(0, words[i].find_first_of("+-*/%="));
      if (is_name(name)) set(name, {{unknown_text(name)}, false, false});
    }
    return Truth::unknown;
  }
  if (what == "printf" && words.size() > 2 && words[1] == "-v" && is_name(words[2])) {
    set(words[2], {{unknown_text(words[2])}, false, false});
    return Truth::yes;
  }
  if (what == "wait") out_.waits.push_back(n.line);
  known = what == "set" || what == "shopt" || what == "trap" || what == "wait" || what == "ulimit";
  return known || what == "echo" || what == "mkdir" ? Truth::yes : Truth::unknown;
}

ShellRunner::Truth ShellRunner::test(const std::vector<std::string>& given) const {
  std::vector<std::string> w(given.begin() + 1, given.end());
  if (!w.empty() && (w.back() == "]" || w.back() == "]]")) w.pop_back();
  bool negated = false;
  while (!w.empty() && w[0] == "!") {
    negated = !negated;
    w.erase(w.begin());
  }
  const auto answer = [&](bool yes) { return yes != negated ? Truth::yes : Truth::no; };
  for (const std::string& word : w)
    if (!is_known(word)) return Truth::unknown;
  if (w.size() == 1) return answer(!w[0].empty());
  if (w.size() == 2 && w[0] == "-z") return answer(w[1].empty());
  if (w.size() == 2 && w[0] == "-n") return answer(!w[1].empty());
  if (w.size() != 3) return Truth::unknown;
  if (w[1] == "=" || w[1] == "==" || w[1] == "!=") {
    const bool pattern = given[0] == "[[";
    const bool same = pattern ? ::fnmatch(w[2].c_str(), w[0].c_str(), 0) == 0 : w[0] == w[2];
    return answer(same == (w[1] != "!="));
  }
  static const std::vector<std::pair<std::string, std::string>> kNumbers = {
      {"-eq", "=="}, {"-ne", "!="}, {"-lt", "<"}, {"-le", "<="}, {"-gt", ">"}, {"-ge", ">="}};
  for (const auto& [word, op] : kNumbers) {
    if (w[1] != word) continue;
    const auto value = arithmetic("(" + w[0] + ")" + op + "(" + w[2] + ")");
    return value ? answer(*value != 0) : Truth::unknown;
  }
  return Truth::unknown;
}

void ShellRunner::record(const ShellNode& n, std::vector<std::string> words,
                         const std::map<std::string, std::string>& before) {
  if (out_.commands.size() >= 5000) return;
  RanCommand& c = out_.commands.emplace_back();
  c.line = n.line;
  c.words = std::move(words);
  for (const auto& [name, value] : state_.variables)
    if (value.exported && !value.items.empty()) c.environment[name] = value.items[0];
  for (const auto& [name, value] : before) c.environment[name] = value;
  c.folder = state_.folder;
  c.moved = state_.moved;
  c.background = mode_.background;
  c.perhaps = mode_.perhaps;
  c.in_loop = mode_.in_loop;
}

ShellRun run_shell(const ShellScript& script, const ShellFacts& facts) {
  ShellRunner runner(facts);
  runner.list(script.commands);
  return runner.take();
}

}  // namespace weft
