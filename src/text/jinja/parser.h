// A template as a tree. The grammar is Jinja's (jinja2/parser.py): the same precedence, the same
// optional commas.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace weft::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

enum class ExpressionKind {
  constant,
  name,
  attribute,
  subscript,
  slice,
  call,
  filter,
  test,
  list,
  tuple,
  dict,
  negate,
  plus,
  not_,
  arithmetic,
  and_,
  or_,
  compare,
  concat,
  conditional
};

struct Expression {
  ExpressionKind kind = ExpressionKind::constant;
  int line = 1, depth = 1;
  std::string name;  // of a name, attribute, filter or test; the operator of arithmetic
  Value value;       // of a constant
  // attribute, filter, test, call: what it is applied to (null: a filter block's text), then the
  // arguments. subscript: what, index. slice: what, start, stop, step (null: left out). dict: keys
  // and values in turn. conditional: if true, condition, if false (may be null).
  std::vector<ExpressionPtr> parts;
  std::vector<std::string> operators;                        // of compare, between the parts
  std::vector<std::pair<std::string, ExpressionPtr>> named;  // arguments of call, filter, test
  ExpressionPtr star, double_star;                           // call(*star, **double_star)
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

enum class StatementKind {
  text,
  print,
  if_,
  for_,
  set,
  set_block,
  macro,
  call,
  filter,
  with,
  scope,
  break_,
  continue_
};

struct Signature {
  std::vector<std::string> names;
  std::vector<ExpressionPtr> defaults;  // of the last names
  bool takes_more = false, takes_named = false,
       takes_caller = false;  // it names varargs, kwargs, caller
};

struct Statement {
  StatementKind kind = StatementKind::text;
  int line = 1;
  std::string text;                        // text; the name of a macro
  ExpressionPtr target, value, condition;  // set, for; print, set, for, call, filter; for's filter
  std::vector<std::pair<ExpressionPtr, Body>>
      branches;  // of if; with: names and values as targets and one body
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> assignments;  // of with
  Body body, otherwise;
  Signature signature;  // of macro and call
};

// Fault, with the line in `line`, where it is no template or has what is not supported.
Body parse(std::string_view source, int& line);

}  // namespace weft::jinja
