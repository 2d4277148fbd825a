#include "text/jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "text/jinja/expression_parser.h"

namespace weft::jinja {
namespace {

constexpr int kMaxBlocks = 60;  // one in another

class Parser {
 public:
  Parser(std::vector<Token> tokens, int& line)
      : stream_(std::move(tokens), line), expressions_(stream_) {}

  Body run() {
    Body body = statements({});
    if (stream_.current().type != TokenType::end) fault("unexpected {}", stream_.described());
    return body;
  }

 private:
  TokenStream stream_;
  ExpressionParser expressions_;
  int depth_ = 0;

  // Up to one of the tags named `ends`, whose name is the current token then; without ends up to
  // the end of the template.
  Body statements(std::initializer_list<std::string_view> ends) {
    if (++depth_ > kMaxBlocks) fault("blocks are nested more than {} deep", kMaxBlocks);
    const int begun = stream_.current().line;
    Body body;
    for (;;) {
      const Token token = stream_.current();
      if (token.type == TokenType::data) {
        stream_.next();
        body.push_back(make(StatementKind::text, token.line));
        body.back()->text = token.text;
      } else if (token.type == TokenType::print_begin) {
        stream_.next();
        auto print = make(StatementKind::print, token.line);
        print->value = expressions_.tuple();
        stream_.expect(TokenType::print_end, "}}");
        body.push_back(std::move(print));
      } else if (token.type == TokenType::block_begin) {
        stream_.next();
        const Token& name = stream_.current();
        if (name.type != TokenType::name)
          fault("a tag begins with {}; expected its name", stream_.described());
        if (std::find(ends.begin(), ends.end(), name.text) != ends.end()) break;
        body.push_back(statement());
        stream_.expect(TokenType::block_end, "%}");
      } else {
        if (ends.size() > 0) {
          stream_.set_line(begun);
          fault("a block is not closed by {{% {} %}}", *std::prev(ends.end()));
        }
        break;
      }
    }
    --depth_;
    return body;
  }

  static std::unique_ptr<Statement> make(StatementKind kind, int line) {
    auto made = std::make_unique<Statement>();
    made->kind = kind;
    made->line = line;
    return made;
  }

  // The %} of an opening tag, then its body and the name of the tag that ends it.
  Body block(std::initializer_list<std::string_view> ends) {
    stream_.skip(":");
    stream_.expect(TokenType::block_end, "%}");
    return statements(ends);
  }
  Body whole_block(std::string_view end) {
    Body body = block({end});
    stream_.next();
    return body;
  }

  std::unique_ptr<Statement> statement() {
    const Token tag = stream_.next();
    const std::string& name = tag.text;
    if (name == "if") return if_statement(tag.line);
    if (name == "for") return for_statement(tag.line);
    if (name == "set") return set_statement(tag.line);
    if (name == "macro" || name == "call") return macro_statement(name == "macro", tag.line);
    if (name == "break" || name == "continue")
      return make(name == "break" ? StatementKind::break_ : StatementKind::continue_, tag.line);
    if (name == "generation") {  // marks what the model is trained on; rendered it is its content
      auto made = make(StatementKind::scope, tag.line);
      made->body = whole_block("endgeneration");
      return made;
    }
    if (name == "filter") {
      auto made = make(StatementKind::filter, tag.line);
      made->value = expressions_.filters(nullptr, true);
      made->body = whole_block("endfilter");
      return made;
    }
    if (name == "with") return with_statement(tag.line);
    fault("the tag '{}' is unknown or not supported", name);
  }

  std::unique_ptr<Statement> if_statement(int line) {
    auto made = make(StatementKind::if_, line);
    for (;;) {
      ExpressionPtr condition = expressions_.tuple(false);
      Body body = block({"elif", "else", "endif"});
      made->branches.emplace_back(std::move(condition), std::move(body));
      const std::string end = stream_.next().text;
      if (end == "elif") continue;
      if (end == "else") made->otherwise = whole_block("endif");
      return made;
    }
  }

  std::unique_ptr<Statement> for_statement(int line) {
    auto made = make(StatementKind::for_, line);
    made->target = expressions_.target(false);
    if (!stream_.skip_name("in")) fault("expected 'in' in a for tag, got {}", stream_.described());
    made->value = expressions_.tuple(false);
    if (stream_.skip_name("if")) made->condition = expressions_.expression();
    if (stream_.is_name("recursive")) fault("recursive loops are not supported");
    made->body = block({"else", "endfor"});
    if (stream_.next().text == "else") made->otherwise = whole_block("endfor");
    return made;
  }

  std::unique_ptr<Statement> set_statement(int line) {
    auto made = make(StatementKind::set, line);
    made->target = expressions_.target(true);
    if (stream_.skip("=")) {
      made->value = expressions_.tuple();
      return made;
    }
    made->kind = StatementKind::set_block;
    if (stream_.is("|")) made->value = expressions_.filters(nullptr, false);
    made->body = whole_block("endset");
    return made;
  }

  std::unique_ptr<Statement> with_statement(int line) {
    auto made = make(StatementKind::with, line);
    while (stream_.current().type != TokenType::block_end) {
      if (!made->assignments.empty()) stream_.expect(",");
      ExpressionPtr target = expressions_.target(false);
      stream_.expect("=");
      made->assignments.emplace_back(std::move(target), expressions_.expression());
    }
    made->body = whole_block("endwith");
    return made;
  }

  std::unique_ptr<Statement> macro_statement(bool macro, int line) {
    auto made = make(macro ? StatementKind::macro : StatementKind::call, line);
    if (macro) made->text = stream_.expect(TokenType::name, "a macro's name").text;
    if (macro || stream_.is("(")) {
      stream_.expect("(");
      while (!stream_.is(")")) {
        if (!made->signature.names.empty()) stream_.expect(",");
        made->signature.names.push_back(stream_.expect(TokenType::name, "an argument's name").text);
        if (stream_.skip("=")) {
          made->signature.defaults.push_back(expressions_.expression());
        } else if (!made->signature.defaults.empty()) {
          fault("a non-default argument follows a default argument");
        }
      }
      stream_.expect(")");
    }
    if (!macro) {
      made->value = expressions_.expression();
      if (made->value->kind != ExpressionKind::call)
        fault("a call block calls something that is no call");
    }
    const auto before = expressions_.names_seen;
    expressions_.names_seen = {};
    made->body = whole_block(macro ? "endmacro" : "endcall");
    const auto seen = expressions_.names_seen;
    made->signature.takes_more = seen.varargs;
    made->signature.takes_named = seen.kwargs;
    made->signature.takes_caller = seen.caller;
    expressions_.names_seen = {before.varargs || seen.varargs, before.kwargs || seen.kwargs,
                               before.caller || seen.caller};
    return made;
  }
};

}  // namespace

Body parse(std::string_view source, int& line) {
  std::vector<Token> tokens = tokenize(source, line);
  return Parser(std::move(tokens), line).run();
}

}  // namespace weft::jinja
