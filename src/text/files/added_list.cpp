#include "text/files/added_list.h"

#include <utility>

#include "core/check.h"
#include "text/json_values.h"
#include "text/token_list.h"

namespace weft {

AddedTokenList::AddedTokenList(const std::vector<std::string>& vocabulary, std::string file)
    : vocabulary_(vocabulary), vocabulary_file_(std::move(file)) {}

const std::unordered_map<std::string_view, std::int32_t>& AddedTokenList::vocabulary_ids() const {
  if (vocabulary_ids_.empty()) {
    vocabulary_ids_.reserve(vocabulary_.size());
    for (std::size_t i = 0; i < vocabulary_.size(); ++i)
      if (!vocabulary_[i].empty()) vocabulary_ids_[vocabulary_[i]] = static_cast<std::int32_t>(i);
  }
  return vocabulary_ids_;
}

void AddedTokenList::check(const AddedToken& token, const std::string& file) const {
  const std::string content = in_message(token.content);
  const auto at = static_cast<std::size_t>(token.id);
  const std::string there = at < vocabulary_.size() ? vocabulary_[at] : "";
  CHECK_USER(there.empty() || there == token.content,
             "{}: added token '{}' has id {}, which is '{}' in the vocabulary of {}", file, content,
             token.id, in_message(there), vocabulary_file_);
  if (there.empty()) {
    const auto own = vocabulary_ids().find(token.content);
    CHECK_USER(own == vocabulary_ids().end(),
               "{}: added token '{}' has id {}, but {} in the vocabulary of {}", file, content,
               token.id, own->second, vocabulary_file_);
  }
  const auto by_id = list_.find(token.id);
  CHECK_USER(by_id == list_.end() || by_id->second.token.content == token.content,
             "{}: added token '{}' has id {}, which is '{}' in {}", file, content, token.id,
             in_message(by_id->second.token.content), by_id->second.file);
  const auto by_text = ids_.find(token.content);
  CHECK_USER(by_text == ids_.end() || by_text->second == token.id,
             "{}: added token '{}' has id {}, but {} in {}", file, content, token.id,
             by_text->second, list_.at(by_text->second).file);
}

void AddedTokenList::put(AddedToken token, const std::string& file) {
  check(token, file);
  ids_[token.content] = token.id;
  const std::int32_t id = token.id;
  list_[id] = {std::move(token), file};
}

std::int32_t AddedTokenList::put_anywhere(AddedToken token, const std::string& file) {
  if (const auto known = ids_.find(token.content); known != ids_.end()) return known->second;
  const auto own = vocabulary_ids().find(token.content);
  const auto behind = std::max(static_cast<std::int64_t>(vocabulary_.size()),
                               list_.empty() ? 0 : std::int64_t{list_.rbegin()->first} + 1);
  CHECK_USER(own != vocabulary_ids().end() || behind <= kMaxTokenId,
             "{}: there is no id for '{}'; allowed: 0 to {}", file, in_message(token.content),
             kMaxTokenId);
  token.id = own != vocabulary_ids().end() ? own->second : static_cast<std::int32_t>(behind);
  const std::int32_t id = token.id;
  put(std::move(token), file);
  return id;
}

bool AddedTokenList::has_equal(const AddedToken& token) const {
  const auto known = list_.find(token.id);
  return known != list_.end() && known->second.token == token;
}

bool AddedTokenList::knows(const std::string& content) const {
  return contains(content) || vocabulary_ids().contains(content);
}

std::vector<AddedToken> AddedTokenList::tokens() const {
  std::vector<AddedToken> out;
  out.reserve(list_.size());
  for (const auto& [id, entry] : list_) out.push_back(entry.token);
  return out;
}

}  // namespace weft
