// Renders a template's tree. Names are looked up from the inside out: a loop's round, a macro's
// call, the template, the functions.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/builtins.h"
#include "text/jinja/parser.h"

namespace weft::jinja {

struct Scope {
  std::shared_ptr<Scope> around;
  std::vector<std::pair<std::string, Value>> names;
};

class Interpreter {
 public:
  Interpreter(Budget& budget, int& line) : budget_(budget), line_(line) {}
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // Fault, with the line in `line`, where the template fails or asks for too much.
  std::string render(const Body& body, std::vector<std::pair<std::string, Value>> variables);

 private:
  enum class Flow { on, break_, continue_ };

  Budget& budget_;
  int& line_;
  int depth_ = 0;
  std::string* out_ = nullptr;
  std::shared_ptr<Scope> scope_;
  // Macros hold the scope that holds them, and namespaces may hold themselves: these are emptied at
  // the end.
  std::vector<std::shared_ptr<Scope>> captured_;
  std::vector<std::shared_ptr<Object>> spaces_;

  class Inside;  // a scope in the current one, for as long as it lives

  Flow run(const Body& body);
  Flow run(const Statement& s);
  Flow run_if(const Statement& s);
  Flow run_for(const Statement& s);
  Flow run_round(const Statement& s, const std::shared_ptr<Loop>& loop);
  Flow run_with(const Statement& s);
  void run_set_block(const Statement& s);
  void run_call(const Statement& s);
  std::string captured(const Body& body);  // what it prints; breaks do not leave it
  void print(std::string_view text);

  Value evaluate(const Expression& e);
  Value evaluate_call(const Expression& e);
  Value evaluate_filter(const Expression& e, const Value* text);
  bool evaluate_test(const Expression& e);
  bool evaluate_compare(const Expression& e);
  Value evaluate_dict(const Expression& e);
  Value evaluate_slice(const Expression& e);
  Value evaluate_concat(const Expression& e);
  std::vector<Value> evaluate_parts(const Expression& e, std::size_t from);
  Arguments evaluate_arguments(const Expression& e);
  Value call(const Value& callee, Arguments arguments);
  Value call_macro(const Value& macro, Arguments arguments);
  Value macro_of(const Statement& s);

  Value look_up(const std::string& name) const;
  void assign(const Expression& target, const Value& value);
  void define(const std::string& name, const Value& value);
};

}  // namespace weft::jinja
