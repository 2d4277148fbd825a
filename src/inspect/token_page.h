// The page that shows texts as their tokens, a colour each.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "inspect/attention_text.h"

namespace weft {

struct TokenPage {
  std::string made_by, command, tokenizer;  // its kind and size
  std::vector<AttentionText> texts;
};
void write_token_page(const TokenPage& page, const std::filesystem::path& file);  // as PageFile

}  // namespace weft
