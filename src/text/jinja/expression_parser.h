// Expressions of a template, and the stream of tokens that they share with its tags.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/lexer.h"
#include "text/jinja/parser.h"

namespace weft::jinja {

class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, int& line) : tokens_(std::move(tokens)), line_(line) {
    line_ = tokens_[0].line;
  }
  const Token& current() const { return tokens_[at_]; }
  const Token& after() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token next();
  bool is(std::string_view symbol) const {
    return current().type == TokenType::symbol && current().text == symbol;
  }
  bool is_name(std::string_view name) const {
    return current().type == TokenType::name && current().text == name;
  }
  bool skip(std::string_view symbol);
  bool skip_name(std::string_view name);
  void expect(std::string_view symbol);
  Token expect(TokenType type, std::string_view description);
  std::string described() const;  // the current token, for messages
  void set_line(int line) { line_ = line; }

 private:
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int& line_;
};

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}
  ExpressionPtr expression(bool with_conditional = true);
  ExpressionPtr tuple(bool with_conditional = true, bool in_parentheses = false);
  ExpressionPtr target(bool with_attribute);  // what may stand left of = or of in
  ExpressionPtr filters(ExpressionPtr to, bool without_bar);

  struct {
    bool varargs = false, kwargs = false, caller = false;
  } names_seen;

 private:
  TokenStream& stream_;
  int depth_ = 0;

  ExpressionPtr make(ExpressionKind kind) const;
  static void add(Expression& to, ExpressionPtr part);
  ExpressionPtr binary(ExpressionKind kind, std::string op, ExpressionPtr left,
                       ExpressionPtr right) const;
  ExpressionPtr or_();
  ExpressionPtr and_();
  ExpressionPtr not_();
  ExpressionPtr compare();
  ExpressionPtr sum();
  ExpressionPtr concat();
  ExpressionPtr product();
  ExpressionPtr power();
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr primary();
  ExpressionPtr name_or_constant();
  ExpressionPtr postfix(ExpressionPtr to);
  ExpressionPtr subscript(ExpressionPtr to);
  ExpressionPtr filters_and_tests(ExpressionPtr to);
  ExpressionPtr test(ExpressionPtr of);
  ExpressionPtr call(ExpressionPtr callee);
  void arguments(Expression& of);
};

}  // namespace weft::jinja
