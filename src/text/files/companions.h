// What stands beside a tokenizer's vocabulary in its folder, read as transformers 5.24 reads it
// (PreTrainedTokenizerBase._from_pretrained): tokenizer_config.json, special_tokens_map.json,
// added_tokens.json, and config.json's word on the tokenizer's class.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/json.h"
#include "text/files/added_list.h"

namespace weft {

struct Companions {
  std::filesystem::path dir;
  Json config = Json::object();  // tokenizer_config.json's, {} where it is not there
  std::string config_file;       // its path
  Json model = Json::object();   // config.json's, likewise
  // As AutoTokenizer finds it, without "Fast"; empty: no class of its own
  // (PreTrainedTokenizerFast).
  std::string class_name;
  bool class_is_named = false;  // by tokenizer_class, rather than by the model's type

  // Special tokens by role, as the files give them; one that says null has no role. Files that name
  // a token without its flags mean those of `added`. With added_tokens_decoder in
  // tokenizer_config.json, special_tokens_map.json says nothing; else its word counts more.
  std::map<std::string, std::optional<AddedToken>> roles;
  // What special_tokens_map.json says beside added_tokens_decoder: of roles without a word in
  // tokenizer_config.json, where the tokenizer has the token anyway.
  std::map<std::string, std::string> roles_of_map;
  std::vector<AddedToken> added;  // with ids: of added_tokens_decoder, else of added_tokens.json
  std::string added_file;         // which of the two
  std::vector<AddedToken> known;  // of added_tokens.json beside added_tokens_decoder: must agree
  std::vector<AddedToken> extra;  // special without a role, and without an id
  std::vector<AddedToken> additional;  // likewise, special_tokens_map.json's older list

  // A special token's text; empty: there is none.
  std::string role(const char* name, const std::string& otherwise) const;
  bool flag(const char* name, bool otherwise) const;  // UserError: it is there and no truth value
};

// UserErrors name file and key.
Companions read_companions(const std::filesystem::path& dir);

// Puts the tokens that the files name into the list: those with ids, then those of the roles (with
// `defaults`, the class's own, where the files say nothing of a role), then the others. Gives the
// texts by role.
std::map<std::string, std::string> put_companions(
    AddedTokenList& list, const Companions& companions,
    const std::vector<std::pair<const char*, std::string>>& defaults = {});

// TokenizersBackend.update_post_processor: add_bos_token and add_eos_token as a template; null
// where both are false.
Json begin_end_template(const Companions& companions, AddedTokenList& list,
                        const std::map<std::string, std::string>& roles);

}  // namespace weft
