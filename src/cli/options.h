// The command line of one command: flags made from visited fields, a TOML file under them, --help,
// and errors with suggestions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/fields.h"
#include "io/json.h"

namespace weft {

struct CommandLine {
  std::string name, summary;
  std::vector<std::string>* positionals =
      nullptr;                  // words that are no options; null: none are allowed
  std::string positional_name;  // "IN...", for --help
  std::vector<std::string>* flags =
      nullptr;  // filled with the names of the fields that flags have set, as in visit()
  std::vector<std::string> words = {};  // that a positional may be; empty: any
  // Flags that other programs have and this command has not, and what is said behind that.
  std::map<std::string, std::string> lacking = {};
};

// Sets the fields from --config FILE, then from the flags. False when --help was asked for; it has
// been printed then (where `prints`); --help=man|bash|zsh prints what cli/help_forms.h makes.
bool parse_options(const CommandLine& command, const std::vector<std::string>& args,
                   const VisitFields& fields, bool prints);

// All fields as TOML, grouped in tables; unset ones are left out.
std::string to_toml(const VisitFields& fields);

// Sets the fields that the object names; other keys are ignored. `origin` begins the errors.
void set_from_json(const Json& object, const VisitFields& fields, const std::string& origin);

// The names of the visited fields.
std::vector<std::string> field_names(const VisitFields& fields);

}  // namespace weft
