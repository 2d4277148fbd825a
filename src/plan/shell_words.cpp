#include <fnmatch.h>

#include <algorithm>
#include <charconv>

#include "plan/shell_runner.h"

namespace weft {
namespace {

constexpr char kBegin = '\x01', kEnd = '\x02';
constexpr int kMaxDepth = 40;
constexpr std::size_t kMaxText = 1 << 16;  // of one word

bool is_name_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// Where the bracket that opens at `at` is closed; npos: nowhere.
std::size_t closing(std::string_view text, std::size_t at, char open, char close) {
  int nesting = 0;
  char quote = 0;
  for (std::size_t i = at; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\') {
      ++i;
    } else if (quote) {
      if (c == quote) quote = 0;
    } else if (c == '\'' || c == '`') {
      quote = c;
    } else if (c == open) {
      ++nesting;
    } else if (c == close && --nesting == 0) {
      return i;
    }
  }
  return std::string_view::npos;
}

std::string squeezed(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\t' || c == '\n';
    if (!blank)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  while (out.ends_with(' ')) out.pop_back();
  return out;
}

std::string trimmed(const std::string& text) { return squeezed(text); }

}  // namespace

std::string unknown_text(const std::string& name) { return kBegin + name + kEnd; }
bool is_known(const std::string& text) { return text.find(kBegin) == std::string::npos; }

std::string shown_text(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (c != kEnd) out += c == kBegin ? '$' : c;
  return out;
}

std::vector<std::string> unknown_names(const std::string& text) {
  std::vector<std::string> names;
  for (std::size_t at = text.find(kBegin); at != std::string::npos; at = text.find(kBegin, at + 1))
    names.push_back(text.substr(at + 1, text.find(kEnd, at) - at - 1));
  return names;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == at)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

std::optional<std::int64_t> whole_number(const std::string& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  return whole ? std::optional(number) : std::nullopt;
}

void ShellRunner::Fields::end() {
  if (started) done.push_back(std::move(current));
  current.clear();
  started = false;
}

std::vector<std::string> ShellRunner::expand(const std::string& raw) {
  Fields fields;
  expand_into(raw, false, true, fields, 0);
  fields.end();
  return std::move(fields.done);
}

std::string ShellRunner::expand_text(const std::string& raw) {
  Fields fields;
  expand_into(raw, false, false, fields, 0);
  fields.end();
  std::string out;
  for (const std::string& part : fields.done) out += (out.empty() ? "" : " ") + part;
  return out;
}

void ShellRunner::expand_into(std::string_view raw, bool quoted, bool splits, Fields& f,
                              int depth) {
  if (depth > kMaxDepth || f.current.size() > kMaxText || f.done.size() > 10'000) {
    f.current += unknown_text("…");
    f.started = true;
    return;
  }
  for (std::size_t i = 0; i < raw.size();) {
    const char c = raw[i];
    if (c == '\\' && i + 1 < raw.size()) {
      const bool kept = quoted && std::string_view("$`\"\\\n").find(raw[i + 1]) > 4;
      if (kept) f.current += c;
      if (raw[i + 1] != '\n') f.current += raw[i + 1];
      f.started = true;
      i += 2;
    } else if (c == '\'' && !quoted) {
      const std::size_t end = std::min(raw.find('\'', i + 1), raw.size());
      f.current += raw.substr(i + 1, end - i - 1);
      f.started = true;
      i = end + 1;
    } else if (c == '"' && !quoted) {
      std::size_t end = i + 1;
      while (end < raw.size() && raw[end] != '"') {
        if (raw[end] == '\\') {
          end += 2;
        } else if (raw[end] == '$' && end + 1 < raw.size() &&
                   (raw[end + 1] == '(' || raw[end + 1] == '{')) {
          const char open = raw[end + 1];
          end = closing(raw, end + 1, open, open == '(' ? ')' : '}');
          end = end == std::string_view::npos ? raw.size() : end + 1;
        } else {
          ++end;
        }
      }
      end = std::min(end, raw.size());
      const std::string_view inner = raw.substr(i + 1, end - i - 1);
      f.started |= inner != "$@" && !inner.ends_with("[@]}");  // an empty list makes no word
      expand_into(inner, true, splits, f, depth + 1);
      i = end + 1;
    } else if (c == '`') {
      const std::size_t end = std::min(raw.find('`', i + 1), raw.size());
      put(f, {command_value(std::string(raw.substr(i + 1, end - i - 1)), depth + 1)}, quoted,
          splits);
      i = end + 1;
    } else if (c == '$' && i + 1 < raw.size()) {
      dollar(raw, i, quoted, splits, f, depth);
    } else if ((c == '<' || c == '>') && i + 1 < raw.size() && raw[i + 1] == '(') {
      f.current += unknown_text("a process");
      f.started = true;
      i = raw.size();
    } else {
      f.current += c;
      f.started = true;
      ++i;
    }
  }
}

void ShellRunner::put(Fields& f, const std::vector<std::string>& items, bool quoted,
                      bool splits) const {
  for (std::size_t n = 0; n < items.size(); ++n) {
    if (n > 0 && splits) f.end();
    if (n > 0 && !splits) f.current += ' ';
    const std::string& text = items[n];
    if (quoted || !splits) {
      f.current += text;
      f.started |= !text.empty() || items.size() > 1 || !splits;
      continue;
    }
    bool in_mark = false;
    for (const char c : text) {
      in_mark = c == kBegin || (in_mark && c != kEnd);
      if (!in_mark && (c == ' ' || c == '\t' || c == '\n')) {
        f.end();
      } else {
        f.current += c;
        f.started = true;
      }
    }
  }
}

void ShellRunner::dollar(std::string_view raw, std::size_t& at, bool quoted, bool splits, Fields& f,
                         int depth) {
  const char next = raw[at + 1];
  if (raw.substr(at).starts_with("$((")) {
    const std::size_t end = closing(raw, at + 1, '(', ')');
    if (end != std::string_view::npos && raw[end - 1] == ')') {
      put(f, {arithmetic_text(raw.substr(at + 3, end - at - 4), depth + 1)}, quoted, splits);
      at = end + 1;
      return;
    }
  }
  if (next == '(' || next == '{') {
    const std::size_t end =
        std::min(closing(raw, at + 1, next, next == '(' ? ')' : '}'), raw.size());
    const std::string inner(raw.substr(at + 2, end - at - 2));
    if (next == '(')
      put(f, {command_value(inner, depth + 1)}, quoted, splits);
    else
      braces(inner, quoted, splits, f, depth + 1);
    at = std::min(end + 1, raw.size());
    return;
  }
  if (next == '\'' && !quoted) {  // $'…': as it is written
    ++at;
    return;
  }
  std::size_t end = at + 1;
  if (std::isdigit(static_cast<unsigned char>(next)) || std::string_view("@*#?!$-").find(next) < 7)
    ++end;
  else
    while (end < raw.size() && is_name_character(raw[end])) ++end;
  if (end == at + 1) {
    f.current += '$';
    f.started = true;
    ++at;
    return;
  }
  braces(std::string(raw.substr(at + 1, end - at - 1)), quoted, splits, f, depth + 1);
  at = end;
}

// What a name holds; is_set: whether the script, or what starts it, has given it a value.
std::vector<std::string> ShellRunner::value_of_name(const std::string& name, bool& is_set) {
  is_set = true;
  if (name == "@" || name == "*") return state_.positional;
  if (name == "#") return {std::to_string(state_.positional.size())};
  if (name == "0" || name == "?" || name == "!" || name == "$" || name == "-")
    return {unknown_text(name)};
  if (const auto place = whole_number(name)) {
    is_set = static_cast<std::size_t>(*place) <= state_.positional.size();
    if (is_set) return {state_.positional[static_cast<std::size_t>(*place) - 1]};
    return {};
  }
  const auto at = state_.variables.find(name);
  if (at != state_.variables.end()) return at->second.items;
  if (name == "PWD" && !state_.folder.empty()) return {state_.folder};
  static const std::vector<std::string> kEverywhere = {
      "HOME", "USER", "PATH",        "HOSTNAME", "TMPDIR",  "SHELL",  "LOGNAME", "LD_LIBRARY_PATH",
      "PWD",  "LANG", "BASH_SOURCE", "RANDOM",   "SECONDS", "LINENO", "UID",     "EUID"};
  if ((!facts_.unknown_prefix.empty() && name.starts_with(facts_.unknown_prefix)) ||
      std::find(kEverywhere.begin(), kEverywhere.end(), name) != kEverywhere.end())
    return {unknown_text(name)};
  is_set = false;
  return {};
}

std::string ShellRunner::unset(const std::string& name) {
  out_.never_set.emplace(name, line_);
  return unknown_text(name);
}

// ${inner}
void ShellRunner::braces(const std::string& inner, bool quoted, bool splits, Fields& f, int depth) {
  const auto give = [&](const std::string& text) { put(f, {text}, quoted, splits); };
  if (inner.starts_with("#") && inner.size() > 1) {  // a length
    bool is_set = false;
    std::string name = inner.substr(1);
    const bool list = name.ends_with("[@]") || name.ends_with("[*]");
    if (list) name.resize(name.size() - 3);
    const auto items = value_of_name(name, is_set);
    const std::string all = items.empty() ? "" : items[0];
    const bool known = list ? is_set : is_known(all);
    return give(known ? std::to_string(list ? items.size() : all.size()) : unknown_text(inner));
  }
  if (inner.starts_with("!")) return give(unknown_text(inner));
  std::size_t end = 0;
  if (!inner.empty() && std::string_view("@*#?!$-").find(inner[0]) < 7)
    end = 1;
  else
    while (end < inner.size() && is_name_character(inner[end])) ++end;
  const std::string name = inner.substr(0, end);
  std::string operation = inner.substr(end), index;
  if (operation.starts_with("[")) {
    const std::size_t close = std::min(operation.find(']'), operation.size());
    index = operation.substr(1, close - 1);
    operation = close < operation.size() ? operation.substr(close + 1) : "";
  }
  bool is_set = false;
  std::vector<std::string> items = value_of_name(name, is_set);
  const bool list = name == "@" || name == "*" || index == "@" || index == "*";
  if (!list && !index.empty()) {
    const auto place = whole_number(index);
    is_set = place && *place >= 0 && static_cast<std::size_t>(*place) < items.size();
    items = is_set ? std::vector<std::string>{items[static_cast<std::size_t>(*place)]}
                   : std::vector<std::string>{};
  } else if (!list && items.size() > 1) {
    items.resize(1);
  }
  if (operation.empty()) {
    if (!is_set) return give(list ? "" : unset(inner));
    if (list && items.empty()) return;
    return put(f, items.empty() ? std::vector<std::string>{""} : items, quoted, splits);
  }
  const bool colon = operation[0] == ':' && operation.size() > 1 &&
                     std::string_view("-=+?").find(operation[1]) < 4;
  const char kind = operation[colon ? 1 : 0];
  const std::string word = operation.substr(colon ? 2 : 1);
  const bool empty =
      !is_set || (colon && (items.empty() || (items.size() == 1 && items[0].empty())));
  if (kind == '-' || kind == '=') {
    if (!empty) return put(f, items, quoted, splits);
    if (kind == '=') {
      const std::string value = expand_text(word);
      set(name, {{value}, false, false});
      return give(value);
    }
    return expand_into(word, quoted, splits, f, depth + 1);
  }
  if (kind == '+') {
    if (!empty) expand_into(word, quoted, splits, f, depth + 1);
    return;
  }
  if (kind == '?') return is_set ? put(f, items, quoted, splits) : give(unknown_text(name));
  for (std::string& item : items) item = operated(name, item, operation, depth);
  if (!is_set) return give(unset(name));
  put(f, items, quoted, splits);
}

// ${name%pattern}, ${name/a/b}, …
std::string ShellRunner::operated(const std::string& name, const std::string& value,
                                  const std::string& operation, int depth) {
  if (!is_known(value) || depth > kMaxDepth || value.size() > 4096) return unknown_text(name);
  const char kind = operation[0];
  const bool twice = operation.size() > 1 && operation[1] == kind;
  const std::string rest = expand_text(operation.substr(twice ? 2 : 1));
  if (!is_known(rest)) return unknown_text(name);
  const auto matches = [](const std::string& pattern, const std::string& text) {
    return ::fnmatch(pattern.c_str(), text.c_str(), 0) == 0;
  };
  if (kind == '%' || kind == '#') {
    for (std::size_t i = 0; i <= value.size(); ++i) {
      const std::size_t cut = twice ? value.size() - i : i;  // of the end (or begin) to cut
      const std::string head = value.substr(0, cut), tail = value.substr(value.size() - cut);
      if (kind == '%' && matches(rest, tail)) return value.substr(0, value.size() - cut);
      if (kind == '#' && matches(rest, head)) return value.substr(cut);
    }
    return value;
  }
  if (kind == '/' && rest.find_first_of("*?[") == std::string::npos) {
    const std::size_t slash = rest.find('/');
    const std::string from = rest.substr(0, slash),
                      to = slash == std::string::npos ? "" : rest.substr(slash + 1);
    std::string out = value;
    for (std::size_t at = from.empty() ? std::string::npos : out.find(from);
         at != std::string::npos && out.size() < kMaxText; at = out.find(from, at + to.size())) {
      out.replace(at, from.size(), to);
      if (!twice) break;
    }
    return out;
  }
  return unknown_text(name);
}

// Names without $ are variables there.
std::string ShellRunner::arithmetic_text(std::string_view raw, int depth) {
  std::string plain;
  for (std::size_t i = 0; i < raw.size();) {
    const char c = raw[i];
    if (c == '$') {
      Fields fields;
      dollar(std::string(raw) + " ", i, true, false, fields, depth + 1);
      fields.end();
      for (const std::string& part : fields.done) plain += part;
    } else if (std::isalpha(static_cast<unsigned char>(c)) || c == '_') {
      std::size_t end = i;
      while (end < raw.size() && is_name_character(raw[end])) ++end;
      const std::string name(raw.substr(i, end - i));
      bool is_set = false;
      const auto items = value_of_name(name, is_set);
      plain += !is_set ? unset(name) : items.empty() || items[0].empty() ? "0" : items[0];
      i = end;
    } else {
      if (c != '"' && c != '\'') plain += c;
      ++i;
    }
  }
  if (is_known(plain))
    if (const auto value = arithmetic(plain)) return std::to_string(*value);
  std::string names;
  for (const std::string& name : unknown_names(plain)) names += (names.empty() ? "" : ", ") + name;
  return unknown_text(names.empty() ? "((" + std::string(raw) + "))" : names);
}

// What a command in $( ) prints, where that follows from the job: counts of nodes, of GPUs, plain
// arithmetic, parts of a path.
std::optional<std::string> ShellRunner::plain_value(const std::string& given, int depth) {
  const std::string text = squeezed(given);
  const auto has = [&](const char* what) { return text.find(what) != std::string::npos; };
  const auto count = [](std::optional<std::int64_t> n) {
    return n ? std::optional(std::to_string(*n)) : std::nullopt;
  };
  const bool hosts = has("NODEFILE") || has("scontrol show hostname") || has("HOSTFILE");
  if (hosts && (has("wc -l") || has("grep -c"))) {
    // What else stands in the pipeline may drop lines.
    for (const std::string& part : split(text, '|')) {
      const std::string word = trimmed(part).substr(0, trimmed(part).find(' '));
      static const std::vector<std::string> kPlain = {"sort", "uniq", "wc",      "cat",
                                                      "awk",  "tr",   "scontrol"};
      if (std::find(kPlain.begin(), kPlain.end(), word) == kPlain.end()) return std::nullopt;
    }
    const bool once = has("uniq") || has("sort -u") || has("scontrol") || has("--unique");
    return count(once ? facts_.nodes : facts_.nodefile_lines);
  }
  const std::size_t space = text.find(' ');
  const std::string word = text.substr(0, space),
                    rest = space == std::string::npos ? "" : text.substr(space + 1);
  if (word.ends_with("_nodes") && rest.empty() && !functions_.contains(word))
    return count(facts_.nodes);
  if (text == "nvidia-smi -L | wc -l" || text == "nvidia-smi --list-gpus | wc -l")
    return std::to_string(facts_.gpus);
  if (text == "nproc" || text == "nproc --all") return std::to_string(facts_.hardware_threads);
  if (word == "pwd" && rest.empty() && !state_.folder.empty()) return state_.folder;
  const bool to_bc = text.ends_with("| bc");
  if (has("|") && !to_bc) return std::nullopt;
  if (has(";") || has("&")) return std::nullopt;
  if (word == "echo" || word == "expr") {
    Fields fields;
    const std::string what = to_bc ? rest.substr(0, rest.rfind('|')) : rest;
    expand_into(what, false, false, fields, depth + 1);
    fields.end();
    const std::string value = trimmed(fields.done.empty() ? "" : fields.done[0]);
    if (!is_known(value)) return std::nullopt;
    if (word == "echo" && !to_bc) return value;
    return count(arithmetic(value));
  }
  if (word == "dirname" || word == "basename" || word == "realpath" || word == "readlink") {
    const std::string path = expand_text(rest.substr(rest.starts_with("-f ") ? 3 : 0));
    const std::size_t slash = path.rfind('/');
    if (!is_known(path) || path.find(' ') != std::string::npos) return std::nullopt;
    if (word == "dirname")
      return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    if (word == "basename") return path.substr(slash == std::string::npos ? 0 : slash + 1);
    if (path.starts_with("/")) return path;
  }
  return std::nullopt;
}

std::string ShellRunner::command_value(const std::string& text, int depth) {
  if (depth > kMaxDepth || --budget_ < 0) return unknown_text("…");
  if (auto value = plain_value(text, depth)) return *value;
  const std::string word = squeezed(text).substr(0, 40);
  // Its commands count too (a chain's qsub); what it changes stays in it.
  substituted_.push_back(parse_shell(text, line_));
  const State before = state_;
  const bool ended = ended_;
  list(substituted_.back().commands);
  state_ = before;
  ended_ = ended;
  return unknown_text("(" + word + ")");
}

}  // namespace weft
