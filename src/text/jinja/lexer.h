// A template as tokens: text, and what stands in {{ }}, {% %}. White space around tags is already
// as trim_blocks, lstrip_blocks and the signs - and + want it; comments are gone; {% raw %} is
// text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace weft::jinja {

enum class TokenType {
  data,
  print_begin,
  print_end,
  block_begin,
  block_end,
  name,
  string,
  number,
  symbol,
  end
};

struct Token {
  TokenType type = TokenType::end;
  int line = 1;
  std::string text;  // of data, a name, a string (unescaped) or a symbol
  Value number;
};

// Fault with the line in `line` where the text is no template.
std::vector<Token> tokenize(std::string_view source, int& line);

}  // namespace weft::jinja
