#include "cli/options.h"

#include <fmt/ranges.h>
#include <toml++/toml.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "cli/help_forms.h"
#include "cli/stdout.h"
#include "core/check.h"
#include "core/spelling.h"
#include "core/utf8.h"
#include "io/files.h"

namespace weft {
namespace {

// ---- values from text; `what` names flag or key in errors

void set_value(std::string& value, const std::string& text, const std::string&) { value = text; }

void set_value(std::int64_t& value, const std::string& text, const std::string& what) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  CHECK_USER(error == std::errc() && end == text.data() + text.size(),
             "{} is '{}'; it must be a whole number", what, text);
  value = number;
}

void set_value(double& value, const std::string& text, const std::string& what) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  CHECK_USER(error == std::errc() && end == text.data() + text.size() && std::isfinite(number),
             "{} is '{}'; it must be a finite number", what, text);
  value = number;
}

void set_value(bool& value, const std::string& text, const std::string& what) {
  CHECK_USER(text == "true" || text == "false", "{} is '{}'; allowed: true, false", what, text);
  value = text == "true";
}

void set_value(FlagWord& word, const std::string& text, const std::string& what) {
  const bool known =
      std::find(word.allowed.begin(), word.allowed.end(), text) != word.allowed.end();
  CHECK_USER(known || text == "true" || text == "false", "{} is '{}'; allowed: {}, true, false",
             what, text, fmt::join(word.allowed, ", "));
  word.value = known ? text : text == "true" ? word.allowed.front() : "";
}

template <class T>
void set_value(std::optional<T>& value, const std::string& text, const std::string& what) {
  T inner{};
  set_value(inner, text, what);
  value = inner;
}

// Only what the field allows becomes its value. The empty text says again that nothing is given.
template <class T, class A>
void set_checked(T& value, const std::string& text, const std::string& what, const A& allowed) {
  T given{};
  set_value(given, text, what);
  const bool not_given = std::is_same_v<A, Words> && text.empty() && value == T{};
  if (!not_given) check_allowed(what, given, allowed);
  value = std::move(given);
}

void set_checked(FlagWord& word, const std::string& text, const std::string& what, Anything) {
  set_value(word, text, what);
}

// ---- values as text

std::string text_of(const std::string& value) { return value; }
std::string text_of(std::int64_t value) { return std::to_string(value); }
std::string text_of(double value) { return fmt::format("{}", value); }

template <class T>
constexpr bool kIsBool = std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>;
template <class T>
constexpr bool kIsList = std::is_same_v<T, std::vector<std::string>>;
template <class T>
constexpr bool kIsWord = std::is_same_v<T, FlagWord>;
template <class T>
constexpr bool kIsText = std::is_same_v<T, std::string> || kIsWord<T>;

// What --help says of the words that are allowed.
std::string words_of(const Words& allowed) {
  return fmt::format(": {}", fmt::join(allowed.known, ", "));
}
template <class A>
std::string words_of(const A&) {
  return "";
}

class Names : public UniformVisitor<Names> {
 public:
  template <class T, class A>
  void each(const char* name, T& value, const A&, const char*) {
    all.emplace_back(name);
    if (kIsBool<T>) booleans.push_back(flag_of(name));
    if constexpr (kIsWord<T>) words[flag_of(name)] = value.allowed;
    groups.push_back(group_);
  }
  std::vector<std::string> all, booleans, groups;
  std::map<std::string, std::vector<std::string>> words;  // allowed ones of each flag
};

class AddFlags : public UniformVisitor<AddFlags> {
 public:
  AddFlags(CLI::App& app, std::vector<std::string>* given) : app_(app), given_(given) {}
  template <class T, class A>
  void each(const char* name, T& value, const A& allowed, const std::string& help) {
    const std::string flag = flag_of(name);
    const auto note = [given = given_, key = std::string(name)] {
      if (given) given->push_back(key);
    };
    if constexpr (kIsBool<T>) {
      app_.add_flag_function(
              flag,
              [&value, note](std::int64_t n) {
                value = n > 0;
                note();
              },
              help)
          ->group(group_);
    } else if constexpr (kIsList<T>) {
      app_.add_option_function<std::vector<std::string>>(
              flag,
              [&value, note](const std::vector<std::string>& all) {
                value = all;
                note();
              },
              help)
          ->allow_extra_args(false)
          ->type_name("TEXT")
          ->group(group_);
    } else {
      CLI::Option* option = app_.add_option_function<std::string>(
          flag,
          [&value, allowed, flag, note](const std::string& text) {
            set_checked(value, text, flag, allowed);
            note();
          },
          help + words_of(allowed));
      option->take_last()->group(group_)->type_name(kIsText<T> ? "TEXT" : "N");
      if constexpr (kIsWord<T>)
        option->type_name(fmt::format("[={}]", fmt::join(value.allowed, "|")));
      if constexpr (requires { text_of(value); }) {
        if (const std::string text = text_of(value); !text.empty()) option->default_str(text);
      }
    }
  }

 private:
  CLI::App& app_;
  std::vector<std::string>* given_;
};

// ---- TOML

std::string toml_text(const toml::node& node, const std::string& what) {
  if (const auto v = node.value_exact<std::string>()) return *v;
  if (const auto v = node.value_exact<std::int64_t>()) return std::to_string(*v);
  if (const auto v = node.value_exact<double>()) return fmt::format("{}", *v);
  if (const auto v = node.value_exact<bool>()) return *v ? "true" : "false";
  user_error("{} is neither a text, a number, nor true or false", what);
}

// Of a list, which may hold lists: those as JSON.
std::string entry_text(const toml::node& node, const std::string& what) {
  const toml::array* list = node.as_array();
  if (!list) return toml_text(node, what);
  std::vector<std::string> entries;
  for (const toml::node& entry : *list) entries.push_back(entry_text(entry, what));
  return fmt::format("[{}]", fmt::join(entries, ", "));
}

class SetFromToml : public UniformVisitor<SetFromToml> {
 public:
  SetFromToml(std::map<std::string, const toml::node*> values, std::string file)
      : values_(std::move(values)), file_(std::move(file)) {}
  template <class T, class A>
  void each(const char* name, T& value, const A& allowed, const char*) {
    const auto at = values_.find(name);
    if (at == values_.end()) return;
    const std::string what = file_ + ": " + name;
    const toml::node& node = *at->second;
    if constexpr (kIsList<T>) {
      value.clear();
      if (const toml::array* list = node.as_array())
        for (const toml::node& entry : *list) value.push_back(entry_text(entry, what));
      else
        value.push_back(toml_text(node, what));
    } else if constexpr (kIsText<T>) {
      CHECK_USER(node.is_string() || node.is_boolean(), "{} is {}; it must be a text in quotes",
                 what, toml_text(node, what));
      set_checked(value, toml_text(node, what), what, allowed);
    } else {
      CHECK_USER(!node.is_string(), "{} is '{}', a text; it must be {}", what,
                 toml_text(node, what), kIsBool<T> ? "true or false" : "a number");
      set_checked(value, toml_text(node, what), what, allowed);
    }
  }

 private:
  std::map<std::string, const toml::node*> values_;
  std::string file_;
};

void read_toml(const std::string& file, const VisitFields& fields) {
  const std::string text = read_text_file(file);
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    user_error("{}: line {}: {}", file, error.source().begin.line, error.description());
  }
  Names names;
  fields(names);
  std::map<std::string, const toml::node*> values;
  const auto take = [&](const std::string& key, const toml::node& node) {
    const bool known = std::find(names.all.begin(), names.all.end(), key) != names.all.end();
    CHECK_USER(known, "{}: line {}: unknown key '{}'{}", file, node.source().begin.line, key,
               suggestion(key, names.all));
    CHECK_USER(values.emplace(key, &node).second, "{}: line {}: key '{}' is given twice", file,
               node.source().begin.line, key);
  };
  for (const auto& [key, node] : table) {
    const toml::table* group = node.as_table();
    if (!group) {
      take(std::string(key.str()), node);
      continue;
    }
    for (const auto& [inner, value] : *group) take(std::string(inner.str()), value);
  }
  SetFromToml set(std::move(values), file);
  fields(set);
}

class WriteToml : public UniformVisitor<WriteToml> {
 public:
  template <class T, class A>
  void each(const char* name, T& value, const A&, const char*) {
    if (group_ != written_)
      out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", written_ = group_);
    write(name, value);
  }
  std::string out;

 private:
  // JSON's escapes are TOML's. TOML is UTF-8: a path of other bytes shows U+FFFD.
  static std::string quoted(const std::string& text) { return json_text(Json(made_utf8(text))); }
  void write(const char* name, const std::string& v) {
    out += fmt::format("{} = {}\n", name, quoted(v));
  }
  void write(const char* name, const FlagWord& v) {
    write(name, v.value.empty() ? "false" : v.value);
  }
  void write(const char* name, std::int64_t v) { out += fmt::format("{} = {}\n", name, v); }
  void write(const char* name, double v) {
    std::string text = fmt::format("{}", v);
    if (text.find_first_of(".e") == std::string::npos) text += ".0";
    out += fmt::format("{} = {}\n", name, text);
  }
  void write(const char* name, bool v) { out += fmt::format("{} = {}\n", name, v); }
  void write(const char* name, const std::vector<std::string>& v) {
    std::string list;
    for (const std::string& entry : v) list += (list.empty() ? "" : ", ") + quoted(entry);
    out += fmt::format("{} = [{}]\n", name, list);
  }
  template <class T>
  void write(const char* name, const std::optional<T>& v) {
    if (v) write(name, *v);
  }
  std::string written_;
};

class SetFromJson : public UniformVisitor<SetFromJson> {
 public:
  SetFromJson(const Json& object, std::string origin)
      : object_(object), origin_(std::move(origin)) {}
  template <class T, class A>
  void each(const char* name, T& value, const A& allowed, const char*) {
    if (!object_.contains(name) || object_[name].is_null()) return;
    const Json& given = object_[name];
    const std::string what = origin_ + ": " + name;
    const auto text = [&](const Json& entry) {
      return entry.is_string() ? entry.get<std::string>() : json_text(entry);
    };
    if constexpr (kIsList<T>) {
      value.clear();
      for (const Json& entry : given.is_array() ? given : Json::array({given}))
        value.push_back(text(entry));
    } else {
      CHECK_USER(kIsText<T> ? given.is_string() || given.is_boolean() : !given.is_string(),
                 "{} is {}; it must be {}", what, brief(given),
                 kIsText<T> ? "a text" : "a number, true or false");
      set_checked(value, text(given), what, allowed);
    }
  }

 private:
  const Json& object_;
  std::string origin_;
};

}  // namespace

std::vector<std::string> field_names(const VisitFields& fields) {
  Names names;
  fields(names);
  return names.all;
}

bool parse_options(const CommandLine& command, const std::vector<std::string>& given,
                   const VisitFields& fields, bool prints) {
  if (!given.empty() && given[0] == kOnlyCheck) {
    parse_options(command, {given.begin() + 1, given.end()}, fields, false);
    return false;
  }
  if (given.size() == 1 && given[0].starts_with("--help=")) {
    const HelpForm form = value_of(kHelpForms, "--help", given[0].substr(7));
    if (prints) write_stdout(command_help(form, command, fields));
    return false;
  }
  Names names;
  fields(names);
  // "--flag true" becomes "--flag=true"; --config comes first of all, since flags win over it.
  std::vector<std::string> args;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const std::size_t equals = given[i].find('=');
    const std::string flag = given[i].substr(0, equals);
    const bool boolean =
        std::find(names.booleans.begin(), names.booleans.end(), flag) != names.booleans.end();
    if (boolean && equals != std::string::npos) {
      bool ignored = false;
      set_value(ignored, given[i].substr(equals + 1), flag);
      args.push_back(given[i]);
    } else if (boolean && i + 1 < given.size() &&
               (given[i + 1] == "true" || given[i + 1] == "false")) {
      args.push_back(given[i] + "=" + given[i + 1]);
      ++i;
    } else if (const auto word = names.words.find(given[i]); word != names.words.end()) {
      // Its word may stand behind it; what else stands there is an argument of its own.
      const bool named =
          i + 1 < given.size() &&
          (given[i + 1] == "true" || given[i + 1] == "false" ||
           std::find(word->second.begin(), word->second.end(), given[i + 1]) != word->second.end());
      args.push_back(given[i] + "=" + (named ? given[i + 1] : word->second.front()));
      i += named;
    } else {
      args.push_back(given[i]);
    }
  }
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--config") {
      CHECK_USER(i + 1 < args.size(), "--config needs a file");
      read_toml(args[i + 1], fields);
    } else if (args[i].starts_with("--config=")) {
      read_toml(args[i].substr(9), fields);
    }
  }

  CLI::App app(command.summary, "weft " + command.name);
  app.get_formatter()->column_width(34);
  std::string config;
  app.add_option("--config", config, "TOML file with any of these options; flags win over it")
      ->type_name("FILE");
  AddFlags add(app, command.flags);
  fields(add);
  if (command.positionals)
    app.add_option(command.positional_name, *command.positionals)->type_name("");
  app.allow_extras();
  std::reverse(args.begin(), args.end());
  try {
    app.parse(args);
  } catch (const CLI::CallForHelp&) {
    if (prints) write_stdout(app.help());
    return false;
  } catch (const CLI::ArgumentMismatch& error) {  // "--layers: 1 required N missing"
    const std::string text = error.what();
    user_error("{} needs a value; see weft {} --help", text.substr(0, text.find(':')),
               command.name);
  } catch (const CLI::ParseError& error) {
    user_error("{}", error.what());
  }
  std::vector<std::string> flags = {"--config", "--help"};
  for (const std::string& name : names.all) flags.push_back(flag_of(name));
  for (const std::string& extra : app.remaining()) {
    const std::string word = extra.substr(0, extra.find('='));
    if (const auto other = command.lacking.find(word); other != command.lacking.end())
      user_error("weft {} has no option '{}'{}", command.name, word, other->second);
    if (word.starts_with("-"))
      user_error("weft {} has no option '{}'{}", command.name, word, suggestion(word, flags));
    user_error("weft {}: '{}' was not expected", command.name, extra);
  }
  return true;
}

std::string to_toml(const VisitFields& fields) {
  WriteToml writer;
  fields(writer);
  return writer.out;
}

void set_from_json(const Json& object, const VisitFields& fields, const std::string& origin) {
  SetFromJson set(object, origin);
  fields(set);
}

}  // namespace weft
