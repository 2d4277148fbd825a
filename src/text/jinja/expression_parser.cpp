#include "text/jinja/expression_parser.h"

#include <algorithm>

namespace weft::jinja {
namespace {

constexpr int kMaxNesting = 300;  // a bracket in another counts 3, a sign or a not 1
constexpr int kMaxDepth = 400;    // of a tree: a + b + c + … leans to one side

struct Deeper {
  int& depth;
  explicit Deeper(int& d) : depth(d) {
    if (++depth > kMaxNesting) fault("expressions are nested too deeply");
  }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;
  ~Deeper() { --depth; }
};

}  // namespace

Token TokenStream::next() {
  const Token token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  line_ = tokens_[at_].line;
  return token;
}

bool TokenStream::skip(std::string_view symbol) {
  if (!is(symbol)) return false;
  next();
  return true;
}

bool TokenStream::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  next();
  return true;
}

void TokenStream::expect(std::string_view symbol) {
  if (!skip(symbol)) fault("expected '{}', got {}", symbol, described());
}

Token TokenStream::expect(TokenType type, std::string_view description) {
  if (current().type != type) fault("expected {}, got {}", description, described());
  return next();
}

std::string TokenStream::described() const {
  switch (current().type) {
    case TokenType::print_end:
      return "'}}'";
    case TokenType::block_end:
      return "'%}'";
    case TokenType::print_begin:
      return "'{{'";
    case TokenType::block_begin:
      return "'{%'";
    case TokenType::end:
      return "the end of the template";
    case TokenType::data:
      return "text";
    default:
      return "'" + current().text.substr(0, 60) + "'";
  }
}

ExpressionPtr ExpressionParser::make(ExpressionKind kind) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->line = stream_.current().line;
  return made;
}

void ExpressionParser::add(Expression& to, ExpressionPtr part) {
  if (part != nullptr) to.depth = std::max(to.depth, part->depth + 1);
  if (to.depth > kMaxDepth) fault("an expression is more than {} deep", kMaxDepth);
  to.parts.push_back(std::move(part));
}

ExpressionPtr ExpressionParser::binary(ExpressionKind kind, std::string op, ExpressionPtr left,
                                       ExpressionPtr right) const {
  ExpressionPtr made = make(kind);
  made->line = left->line;
  made->name = std::move(op);
  add(*made, std::move(left));
  add(*made, std::move(right));
  return made;
}

ExpressionPtr ExpressionParser::expression(bool with_conditional) {
  const Deeper deeper(depth_);
  ExpressionPtr value = or_();
  while (with_conditional && stream_.skip_name("if")) {
    ExpressionPtr made = make(ExpressionKind::conditional);
    add(*made, std::move(value));
    add(*made, or_());
    add(*made, stream_.skip_name("else") ? expression() : nullptr);
    value = std::move(made);
  }
  return value;
}

ExpressionPtr ExpressionParser::or_() {
  ExpressionPtr left = and_();
  while (stream_.skip_name("or")) left = binary(ExpressionKind::or_, "", std::move(left), and_());
  return left;
}

ExpressionPtr ExpressionParser::and_() {
  ExpressionPtr left = not_();
  while (stream_.skip_name("and")) left = binary(ExpressionKind::and_, "", std::move(left), not_());
  return left;
}

ExpressionPtr ExpressionParser::not_() {
  const Deeper deeper(depth_);
  if (!stream_.is_name("not")) return compare();
  ExpressionPtr made = make(ExpressionKind::not_);
  stream_.next();
  add(*made, not_());
  return made;
}

ExpressionPtr ExpressionParser::compare() {
  ExpressionPtr first = sum();
  ExpressionPtr made;
  for (;;) {
    std::string op;
    if (stream_.current().type == TokenType::symbol) {
      for (const char* symbol : {"==", "!=", "<", "<=", ">", ">="}) {
        if (stream_.is(symbol)) op = symbol;
      }
    } else if (stream_.is_name("in")) {
      op = "in";
    } else if (stream_.is_name("not") && stream_.after().type == TokenType::name &&
               stream_.after().text == "in") {
      op = "not in";
      stream_.next();
    }
    if (op.empty()) return made != nullptr ? std::move(made) : std::move(first);
    stream_.next();
    if (made == nullptr) {
      made = make(ExpressionKind::compare);
      add(*made, std::move(first));
    }
    made->operators.push_back(op);
    add(*made, sum());
  }
}

ExpressionPtr ExpressionParser::sum() {
  ExpressionPtr left = concat();
  while (stream_.is("+") || stream_.is("-")) {
    const std::string op = stream_.next().text;
    left = binary(ExpressionKind::arithmetic, op, std::move(left), concat());
  }
  return left;
}

ExpressionPtr ExpressionParser::concat() {
  ExpressionPtr first = product();
  if (!stream_.is("~")) return first;
  ExpressionPtr made = make(ExpressionKind::concat);
  add(*made, std::move(first));
  while (stream_.skip("~")) add(*made, product());
  return made;
}

ExpressionPtr ExpressionParser::product() {
  ExpressionPtr left = power();
  while (stream_.is("*") || stream_.is("/") || stream_.is("//") || stream_.is("%")) {
    const std::string op = stream_.next().text;
    left = binary(ExpressionKind::arithmetic, op, std::move(left), power());
  }
  return left;
}

ExpressionPtr ExpressionParser::power() {
  ExpressionPtr left = unary(true);
  while (stream_.skip("**"))
    left = binary(ExpressionKind::arithmetic, "**", std::move(left), unary(true));
  return left;
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const Deeper deeper(depth_);
  ExpressionPtr made;
  if (stream_.is("-") || stream_.is("+")) {
    made = make(stream_.is("-") ? ExpressionKind::negate : ExpressionKind::plus);
    stream_.next();
    add(*made, unary(false));
  } else {
    made = primary();
  }
  made = postfix(std::move(made));
  return with_filters ? filters_and_tests(std::move(made)) : std::move(made);
}

ExpressionPtr ExpressionParser::name_or_constant() {
  ExpressionPtr made = make(ExpressionKind::constant);
  const std::string name = stream_.next().text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    made->value = boolean(name == "true" || name == "True");
  } else if (name == "none" || name == "None") {
    made->value = none();
  } else {
    made->kind = ExpressionKind::name;
    made->name = name;
    names_seen.varargs |= name == "varargs";
    names_seen.kwargs |= name == "kwargs";
    names_seen.caller |= name == "caller";
  }
  return made;
}

ExpressionPtr ExpressionParser::primary() {
  const TokenType type = stream_.current().type;
  if (type == TokenType::name) return name_or_constant();
  if (type == TokenType::string || type == TokenType::number) {
    ExpressionPtr made = make(ExpressionKind::constant);
    Token token = stream_.next();
    if (type == TokenType::number) {
      made->value = token.number;
      return made;
    }
    while (stream_.current().type == TokenType::string) token.text += stream_.next().text;
    made->value = string(token.text);
    return made;
  }
  if (stream_.skip("(")) {
    ExpressionPtr made = tuple(true, true);
    stream_.expect(")");
    return made;
  }
  if (stream_.is("[")) {
    ExpressionPtr made = make(ExpressionKind::list);
    stream_.next();
    while (!stream_.is("]")) {
      if (!made->parts.empty()) stream_.expect(",");
      if (stream_.is("]")) break;
      add(*made, expression());
    }
    stream_.expect("]");
    return made;
  }
  if (stream_.is("{")) {
    ExpressionPtr made = make(ExpressionKind::dict);
    stream_.next();
    while (!stream_.is("}")) {
      if (!made->parts.empty()) stream_.expect(",");
      if (stream_.is("}")) break;
      add(*made, expression());
      stream_.expect(":");
      add(*made, expression());
    }
    stream_.expect("}");
    return made;
  }
  fault("expected an expression, got {}", stream_.described());
}

ExpressionPtr ExpressionParser::tuple(bool with_conditional, bool in_parentheses) {
  ExpressionPtr made = make(ExpressionKind::tuple);
  bool is_tuple = false;
  for (;;) {
    const TokenType type = stream_.current().type;
    if (type == TokenType::print_end || type == TokenType::block_end || stream_.is(")")) break;
    add(*made, expression(with_conditional));
    if (!stream_.skip(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return made;
  if (!made->parts.empty()) return std::move(made->parts[0]);
  if (!in_parentheses) fault("expected an expression, got {}", stream_.described());
  return made;
}

ExpressionPtr ExpressionParser::target(bool with_attribute) {
  const Deeper deeper(depth_);
  ExpressionPtr made = make(ExpressionKind::tuple);
  bool is_tuple = false;
  while (!stream_.is_name("in") && !stream_.is("=") && !stream_.is(")")) {
    if (stream_.skip("(")) {
      ExpressionPtr inner = target(with_attribute);
      stream_.expect(")");
      add(*made, std::move(inner));
    } else {
      if (stream_.current().type != TokenType::name)
        fault("cannot assign to {}", stream_.described());
      ExpressionPtr name = name_or_constant();
      if (name->kind != ExpressionKind::name) fault("cannot assign to a constant");
      if (with_attribute && stream_.skip(".")) {
        ExpressionPtr attribute = make(ExpressionKind::attribute);
        attribute->name = stream_.expect(TokenType::name, "an attribute's name").text;
        add(*attribute, std::move(name));
        name = std::move(attribute);
      }
      add(*made, std::move(name));
    }
    if (!stream_.skip(",")) break;
    is_tuple = true;
  }
  if (is_tuple) return made;
  if (made->parts.empty()) fault("expected a name to assign to, got {}", stream_.described());
  return std::move(made->parts[0]);
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr to) {
  for (;;) {
    if (stream_.is(".") || stream_.is("[")) {
      to = subscript(std::move(to));
    } else if (stream_.is("(")) {
      to = call(std::move(to));
    } else {
      return to;
    }
  }
}

ExpressionPtr ExpressionParser::subscript(ExpressionPtr to) {
  ExpressionPtr made = make(ExpressionKind::subscript);
  if (stream_.skip(".")) {
    const Token& token = stream_.current();
    if (token.type == TokenType::number && token.number.kind == Kind::integer) {
      ExpressionPtr index = make(ExpressionKind::constant);
      index->value = stream_.next().number;
      add(*made, std::move(to));
      add(*made, std::move(index));
      return made;
    }
    made->kind = ExpressionKind::attribute;
    made->name = stream_.expect(TokenType::name, "an attribute's name").text;
    add(*made, std::move(to));
    return made;
  }
  stream_.expect("[");
  add(*made, std::move(to));
  ExpressionPtr first = stream_.is(":") ? nullptr : expression();
  if (stream_.skip(":")) {
    made->kind = ExpressionKind::slice;
    add(*made, std::move(first));
    add(*made, stream_.is(":") || stream_.is("]") ? nullptr : expression());
    add(*made, stream_.skip(":") && !stream_.is("]") ? expression() : nullptr);
  } else if (stream_.is(",")) {
    ExpressionPtr index = make(ExpressionKind::tuple);
    add(*index, std::move(first));
    while (stream_.skip(",")) add(*index, expression());
    add(*made, std::move(index));
  } else {
    add(*made, std::move(first));
  }
  stream_.expect("]");
  return made;
}

ExpressionPtr ExpressionParser::call(ExpressionPtr callee) {
  ExpressionPtr made = make(ExpressionKind::call);
  add(*made, std::move(callee));
  arguments(*made);
  return made;
}

void ExpressionParser::arguments(Expression& of) {
  stream_.expect("(");
  bool first = true;
  while (!stream_.is(")")) {
    if (!first) stream_.expect(",");
    if (stream_.is(")")) break;
    first = false;
    const bool after_dict = of.double_star != nullptr, after_star = of.star != nullptr;
    if (stream_.skip("*")) {
      if (after_star || after_dict) fault("invalid arguments of a call");
      of.star = expression();
    } else if (stream_.skip("**")) {
      if (after_dict) fault("invalid arguments of a call");
      of.double_star = expression();
    } else if (stream_.current().type == TokenType::name &&
               stream_.after().type == TokenType::symbol && stream_.after().text == "=") {
      if (after_dict) fault("invalid arguments of a call");
      std::string name = stream_.next().text;
      stream_.next();
      of.named.emplace_back(std::move(name), expression());
    } else {
      if (after_star || after_dict || !of.named.empty())
        fault("a positional argument follows a named one");
      add(of, expression());
    }
  }
  stream_.expect(")");
  for (const Expression* e : {of.star.get(), of.double_star.get()}) {
    if (e != nullptr) of.depth = std::max(of.depth, e->depth + 1);
  }
  for (const auto& [name, value] : of.named) of.depth = std::max(of.depth, value->depth + 1);
}

ExpressionPtr ExpressionParser::filters(ExpressionPtr to, bool without_bar) {
  while (without_bar || stream_.skip("|")) {
    without_bar = false;
    ExpressionPtr made = make(ExpressionKind::filter);
    made->name = stream_.expect(TokenType::name, "a filter's name").text;
    add(*made, std::move(to));
    if (stream_.is("(")) arguments(*made);
    to = std::move(made);
  }
  return to;
}

ExpressionPtr ExpressionParser::filters_and_tests(ExpressionPtr to) {
  for (;;) {
    if (stream_.is("|")) {
      to = filters(std::move(to), false);
    } else if (stream_.is_name("is")) {
      to = test(std::move(to));
    } else if (stream_.is("(")) {
      to = call(std::move(to));
    } else {
      return to;
    }
  }
}

ExpressionPtr ExpressionParser::test(ExpressionPtr of) {
  ExpressionPtr made = make(ExpressionKind::test);
  stream_.next();
  const bool negated = stream_.skip_name("not");
  made->name = stream_.expect(TokenType::name, "a test's name").text;
  add(*made, std::move(of));
  const TokenType type = stream_.current().type;
  if (stream_.is("(")) {
    arguments(*made);
  } else if (type == TokenType::string || type == TokenType::number || stream_.is("[") ||
             stream_.is("{") ||
             (type == TokenType::name && !stream_.is_name("else") && !stream_.is_name("or") &&
              !stream_.is_name("and"))) {
    if (stream_.is_name("is")) fault("tests cannot be chained with 'is'");
    add(*made, postfix(primary()));
  }
  if (!negated) return made;
  ExpressionPtr inverse = make(ExpressionKind::not_);
  add(*inverse, std::move(made));
  return inverse;
}

}  // namespace weft::jinja
