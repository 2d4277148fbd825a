// The added tokens of a tokenizer, gathered from all files that name some.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"

namespace weft {

// Ids stay what the files say, holes between them too (transformers 5 closes the holes of a list
// that goes on behind the vocabulary). Where two files say otherwise of one id or of one text, the
// UserError names both.
class AddedTokenList {
 public:
  // The model's tokens by id (empty: a hole), which outlive the list; `file` names where they
  // stand.
  AddedTokenList(const std::vector<std::string>& vocabulary, std::string file);
  // A token with the id that `file` gives it. What was told of it before holds no more.
  void put(AddedToken token, const std::string& file);
  // UserError as put(), and nothing else.
  void check(const AddedToken& token, const std::string& file) const;
  // A token that no file gives an id: the one that its text has, else the next behind all. One that
  // is in the list stays as it is.
  std::int32_t put_anywhere(AddedToken token, const std::string& file);
  bool contains(const std::string& content) const { return ids_.contains(content); }
  bool has_equal(const AddedToken& token) const;
  bool knows(const std::string& content) const;  // has it, or the vocabulary has
  std::vector<AddedToken> tokens() const;        // by id

 private:
  struct Entry {
    AddedToken token;
    std::string file;
  };
  const std::unordered_map<std::string_view, std::int32_t>& vocabulary_ids() const;
  const std::vector<std::string>& vocabulary_;
  std::string vocabulary_file_;
  std::map<std::int32_t, Entry> list_;  // by id
  std::unordered_map<std::string, std::int32_t> ids_;
  // Of the vocabulary, made when first asked for; of equal tokens the last.
  mutable std::unordered_map<std::string_view, std::int32_t> vocabulary_ids_;
};

}  // namespace weft
