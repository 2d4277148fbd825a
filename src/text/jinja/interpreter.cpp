#include "text/jinja/interpreter.h"

#include <algorithm>

namespace weft::jinja {
namespace {

constexpr int kMaxDepth = 1000;  // of evaluation: an expression in a statement in a macro in …
constexpr std::size_t kMaxOutput = std::size_t{64} << 20;

struct Macro : Object {
  const Statement* statement = nullptr;
  std::shared_ptr<Scope> scope;
};

struct Deeper {
  int& depth;
  explicit Deeper(int& d) : depth(d) {
    if (++depth > kMaxDepth) {
      --depth;
      fault("the template calls itself too often");
    }
  }
  Deeper(const Deeper&) = delete;
  Deeper& operator=(const Deeper&) = delete;
  ~Deeper() { --depth; }
};

}  // namespace

class Interpreter::Inside {
 public:
  explicit Inside(Interpreter& in, std::shared_ptr<Scope> around = nullptr)
      : in_(in), before_(in.scope_) {
    in_.scope_ = std::make_shared<Scope>();
    in_.scope_->around = around != nullptr ? std::move(around) : before_;
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() { in_.scope_ = before_; }

 private:
  Interpreter& in_;
  std::shared_ptr<Scope> before_;
};

Interpreter::~Interpreter() {
  for (const auto& scope : captured_) scope->names.clear();
  for (const auto& space : spaces_) static_cast<Dict&>(*space).pairs.clear();
}

std::string Interpreter::render(const Body& body,
                                std::vector<std::pair<std::string, Value>> variables) {
  std::string out;
  out_ = &out;
  auto globals = std::make_shared<Scope>();  // what the template sets shadows the variables
  globals->names = std::move(variables);
  scope_ = std::make_shared<Scope>();
  scope_->around = globals;
  if (run(body) != Flow::on) fault("'break' or 'continue' outside a loop");
  return out;
}

void Interpreter::print(std::string_view text) {
  budget_.bytes(text.size());
  if (out_->size() + text.size() > kMaxOutput)
    fault("the template prints more than {} MiB", kMaxOutput >> 20);
  *out_ += text;
}

std::string Interpreter::captured(const Body& body) {
  std::string out;
  struct Restore {
    std::string*& at;
    std::string* before;
    ~Restore() { at = before; }
  } restore{out_, out_};
  out_ = &out;
  if (run(body) != Flow::on) fault("'break' or 'continue' outside a loop");
  return out;
}

Interpreter::Flow Interpreter::run(const Body& body) {
  for (const auto& statement : body) {
    if (const Flow flow = run(*statement); flow != Flow::on) return flow;
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::run(const Statement& s) {
  const Deeper deeper(depth_);
  budget_.steps();
  line_ = s.line;
  switch (s.kind) {
    case StatementKind::text:
      print(s.text);
      return Flow::on;
    case StatementKind::print:
      print(str(evaluate(*s.value), budget_));
      return Flow::on;
    case StatementKind::if_:
      return run_if(s);
    case StatementKind::for_:
      return run_for(s);
    case StatementKind::set:
      assign(*s.target, evaluate(*s.value));
      return Flow::on;
    case StatementKind::set_block:
      run_set_block(s);
      return Flow::on;
    case StatementKind::macro:
      define(s.text, macro_of(s));
      return Flow::on;
    case StatementKind::call:
      run_call(s);
      return Flow::on;
    case StatementKind::with:
      return run_with(s);
    case StatementKind::break_:
      return Flow::break_;
    case StatementKind::continue_:
      return Flow::continue_;
    case StatementKind::filter: {
      const Inside inside(*this);
      const Value text = string(captured(s.body));
      print(str(evaluate_filter(*s.value, &text), budget_));
      return Flow::on;
    }
    case StatementKind::scope: {
      const Inside inside(*this);
      print(captured(s.body));
      return Flow::on;
    }
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::run_if(const Statement& s) {
  for (const auto& [condition, body] : s.branches) {
    if (truth(evaluate(*condition))) return run(body);
  }
  return run(s.otherwise);
}

Interpreter::Flow Interpreter::run_for(const Statement& s) {
  auto loop = std::make_shared<Loop>();
  loop->items = iterate(evaluate(*s.value), budget_);
  if (s.condition != nullptr) {
    std::vector<Value> kept;
    for (const Value& one : loop->items) {
      const Inside inside(*this);
      assign(*s.target, one);
      if (truth(evaluate(*s.condition))) kept.push_back(one);
    }
    loop->items = std::move(kept);
  }
  if (loop->items.empty()) {
    const Inside inside(*this);
    return run(s.otherwise);
  }
  for (; loop->index < loop->items.size(); ++loop->index) {
    if (run_round(s, loop) == Flow::break_) break;
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::run_round(const Statement& s, const std::shared_ptr<Loop>& loop) {
  budget_.steps();
  const Inside inside(*this);
  Value v;
  v.kind = Kind::loop;
  v.object = loop;
  define("loop", v);
  assign(*s.target, loop->items[loop->index]);
  return run(s.body);
}

Interpreter::Flow Interpreter::run_with(const Statement& s) {
  std::vector<Value> values;
  for (const auto& assignment : s.assignments) values.push_back(evaluate(*assignment.second));
  const Inside inside(*this);
  for (std::size_t i = 0; i < values.size(); ++i) assign(*s.assignments[i].first, values[i]);
  return run(s.body);
}

void Interpreter::run_set_block(const Statement& s) {
  Value value;
  {
    const Inside inside(*this);
    value = string(captured(s.body));
    if (s.value != nullptr) value = evaluate_filter(*s.value, &value);
  }
  assign(*s.target, value);
}

void Interpreter::run_call(const Statement& s) {
  const Value callee = evaluate(*s.value->parts[0]);
  Arguments arguments = evaluate_arguments(*s.value);
  arguments.named.emplace_back("caller", macro_of(s));
  print(str(call(callee, std::move(arguments)), budget_));
}

Value Interpreter::macro_of(const Statement& s) {
  auto macro = std::make_shared<Macro>();
  macro->statement = &s;
  macro->scope = scope_;
  if (captured_.empty() || captured_.back() != scope_) captured_.push_back(scope_);
  Value v;
  v.kind = Kind::macro;
  v.object = std::move(macro);
  return v;
}

Value Interpreter::evaluate(const Expression& e) {
  const Deeper deeper(depth_);
  budget_.steps();
  line_ = e.line;
  const auto part = [&](std::size_t i) { return evaluate(*e.parts[i]); };
  switch (e.kind) {
    case ExpressionKind::constant:
      return e.value;
    case ExpressionKind::name:
      return look_up(e.name);
    case ExpressionKind::attribute:
      return attribute(part(0), e.name, budget_);
    case ExpressionKind::subscript: {
      const Value of = part(0);
      return item(of, part(1), budget_);
    }
    case ExpressionKind::slice:
      return evaluate_slice(e);
    case ExpressionKind::call:
      return evaluate_call(e);
    case ExpressionKind::filter:
      return evaluate_filter(e, nullptr);
    case ExpressionKind::test:
      return boolean(evaluate_test(e));
    case ExpressionKind::list:
      return sequence(Kind::list, evaluate_parts(e, 0));
    case ExpressionKind::tuple:
      return sequence(Kind::tuple, evaluate_parts(e, 0));
    case ExpressionKind::dict:
      return evaluate_dict(e);
    case ExpressionKind::negate:
      return negated(part(0));
    case ExpressionKind::plus: {
      const Value v = part(0);
      return v.kind == Kind::real ? v : negated(negated(v));
    }
    case ExpressionKind::not_:
      return boolean(!truth(part(0)));
    case ExpressionKind::arithmetic: {
      const Value left = part(0);
      return arithmetic(e.name, left, part(1), budget_);
    }
    case ExpressionKind::and_: {
      Value left = part(0);
      return truth(left) ? part(1) : left;
    }
    case ExpressionKind::or_: {
      Value left = part(0);
      return truth(left) ? left : part(1);
    }
    case ExpressionKind::compare:
      return boolean(evaluate_compare(e));
    case ExpressionKind::concat:
      return evaluate_concat(e);
    case ExpressionKind::conditional:
      if (truth(part(1))) return part(0);
      return e.parts[2] != nullptr ? part(2)
                                   : undefined("the condition of an if without else is false");
  }
  return Value();
}

std::vector<Value> Interpreter::evaluate_parts(const Expression& e, std::size_t from) {
  std::vector<Value> values;
  for (std::size_t i = from; i < e.parts.size(); ++i) values.push_back(evaluate(*e.parts[i]));
  budget_.bytes(values.size() * sizeof(Value));
  return values;
}

Value Interpreter::evaluate_slice(const Expression& e) {
  const Value of = evaluate(*e.parts[0]);
  Value bounds[3];
  for (std::size_t i = 0; i < 3; ++i)
    bounds[i] = e.parts[i + 1] != nullptr ? evaluate(*e.parts[i + 1]) : none();
  return slice(of, bounds[0], bounds[1], bounds[2], budget_);
}

Value Interpreter::evaluate_dict(const Expression& e) {
  Pairs pairs;
  for (std::size_t i = 0; i < e.parts.size(); i += 2) {
    const Value key = evaluate(*e.parts[i]);
    put(pairs, key, evaluate(*e.parts[i + 1]), budget_);
  }
  return dict(std::move(pairs));
}

Value Interpreter::evaluate_concat(const Expression& e) {
  std::string out;
  for (const Value& v : evaluate_parts(e, 0)) out += str(v, budget_);
  return string(std::move(out));
}

bool Interpreter::evaluate_compare(const Expression& e) {
  Value left = evaluate(*e.parts[0]);
  for (std::size_t i = 0; i < e.operators.size(); ++i) {
    Value right = evaluate(*e.parts[i + 1]);
    if (!compared(e.operators[i], left, right, budget_)) return false;
    left = std::move(right);
  }
  return true;
}

Arguments Interpreter::evaluate_arguments(const Expression& e) {
  Arguments arguments;
  arguments.positional = evaluate_parts(e, 1);
  if (e.star != nullptr) {
    for (Value& v : iterate(evaluate(*e.star), budget_))
      arguments.positional.push_back(std::move(v));
  }
  for (const auto& [name, value] : e.named) arguments.named.emplace_back(name, evaluate(*value));
  if (e.double_star != nullptr) {
    const Value more = evaluate(*e.double_star);
    if (!more.is_dict()) fault("the argument after ** is to be a dict, not {}", type_name(more));
    for (const auto& [name, value] : more.pairs()) {
      if (!name.is_string()) fault("the names of arguments are to be strings");
      arguments.named.emplace_back(name.text(), value);
    }
  }
  return arguments;
}

Value Interpreter::evaluate_call(const Expression& e) {
  const Value callee = evaluate(*e.parts[0]);
  Arguments arguments = evaluate_arguments(e);
  line_ = e.line;
  return call(callee, std::move(arguments));
}

Value Interpreter::evaluate_filter(const Expression& e, const Value* text) {
  const Deeper deeper(depth_);
  const Value to = e.parts[0] == nullptr                        ? *text
                   : e.parts[0]->kind == ExpressionKind::filter ? evaluate_filter(*e.parts[0], text)
                                                                : evaluate(*e.parts[0]);
  const Arguments arguments = evaluate_arguments(e);
  line_ = e.line;
  return apply_filter(e.name, to, arguments, budget_);
}

bool Interpreter::evaluate_test(const Expression& e) {
  const Value of = evaluate(*e.parts[0]);
  return apply_test(e.name, of, evaluate_arguments(e), budget_);
}

Value Interpreter::call(const Value& callee, Arguments arguments) {
  const Deeper deeper(depth_);
  if (callee.kind == Kind::macro) return call_macro(callee, std::move(arguments));
  if (callee.kind == Kind::method) {
    const auto& method = static_cast<const Method&>(*callee.object);
    return call_method(method.self, method.name, arguments, budget_);
  }
  if (callee.kind == Kind::function) {
    Value made = call_function(callee.text(), arguments, budget_);
    if (made.kind == Kind::space) spaces_.push_back(made.object);
    return made;
  }
  if (callee.is_undefined()) fault("{}", callee.text());
  fault("'{}' object is not callable", type_name(callee));
}

Value Interpreter::call_macro(const Value& macro, Arguments arguments) {
  const auto& of = static_cast<const Macro&>(*macro.object);
  const Signature& signature = of.statement->signature;
  const std::string& name = of.statement->text.empty() ? std::string("caller") : of.statement->text;
  const Inside inside(*this, of.scope);
  const std::size_t n = signature.names.size(), given = arguments.positional.size();
  std::vector<std::optional<Value>> values(n);
  for (std::size_t i = 0; i < std::min(n, given); ++i) values[i] = arguments.positional[i];
  if (given > n && !signature.takes_more)
    fault("the macro '{}' takes at most {} arguments, not {}", name, n, given);
  Pairs more_named;
  Value caller = undefined("no caller defined");
  for (const auto& [key, value] : arguments.named) {
    const auto at = static_cast<std::size_t>(
        std::find(signature.names.begin(), signature.names.end(), key) - signature.names.begin());
    if (at < n) {
      if (values[at]) fault("the macro '{}' is given '{}' twice", name, key);
      values[at] = value;
    } else if (key == "caller" && signature.takes_caller) {
      caller = value;
    } else if (signature.takes_named) {
      put(more_named, string(key), value, budget_);
    } else {
      fault("the macro '{}' has no argument '{}'", name, key);
    }
  }
  if (signature.takes_caller) define("caller", caller);
  if (signature.takes_named) define("kwargs", dict(std::move(more_named)));
  if (signature.takes_more) {
    std::vector<Value> more(
        arguments.positional.begin() + static_cast<std::ptrdiff_t>(std::min(n, given)),
        arguments.positional.end());
    define("varargs", sequence(Kind::tuple, std::move(more)));
  }
  const std::size_t first_default = n - signature.defaults.size();
  for (std::size_t i = 0; i < n; ++i) {
    if (!values[i])
      values[i] =
          i >= first_default
              ? evaluate(*signature.defaults[i - first_default])
              : undefined(fmt::format("parameter '{}' was not provided", signature.names[i]));
    define(signature.names[i], *values[i]);
  }
  return string(captured(of.statement->body));
}

Value Interpreter::look_up(const std::string& name) const {
  for (const Scope* scope = scope_.get(); scope != nullptr; scope = scope->around.get()) {
    for (const auto& [key, value] : scope->names) {
      if (key == name) return value;
    }
  }
  return is_function(name) ? function(name) : undefined(fmt::format("'{}' is undefined", name));
}

void Interpreter::define(const std::string& name, const Value& value) {
  for (auto& [key, old] : scope_->names) {
    if (key != name) continue;
    old = value;
    return;
  }
  scope_->names.emplace_back(name, value);
}

void Interpreter::assign(const Expression& target, const Value& value) {
  if (target.kind == ExpressionKind::name) return define(target.name, value);
  if (target.kind == ExpressionKind::attribute) {
    const Value space = look_up(target.parts[0]->name);
    if (space.kind != Kind::space)
      fault("cannot assign an attribute of '{}', which is no namespace", target.parts[0]->name);
    if (target.name.starts_with('_'))
      fault("the attribute '{}' of a namespace begins with an underscore", target.name);
    return put(static_cast<Dict&>(*space.object).pairs, string(target.name), value, budget_);
  }
  const std::vector<Value> values = iterate(value, budget_);
  if (values.size() != target.parts.size())
    fault("{} values cannot be assigned to {} names", values.size(), target.parts.size());
  for (std::size_t i = 0; i < values.size(); ++i) assign(*target.parts[i], values[i]);
}

}  // namespace weft::jinja
