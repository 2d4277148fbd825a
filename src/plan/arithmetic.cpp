#include <array>
#include <string_view>

#include "plan/shell_run.h"

namespace weft {
namespace {

// Raised where the text is no plain arithmetic, and caught below.
struct NotPlain {};

class Arithmetic {
 public:
  explicit Arithmetic(std::string_view text) : text_(text) {}

  std::int64_t whole() {
    const std::int64_t value = choice(0);
    skip();
    if (at_ < text_.size()) throw NotPlain();
    return value;
  }

 private:
  struct Operator {
    std::string_view text;
    int level;
  };
  // Longer ones first; a higher level binds more tightly.
  static constexpr std::array<Operator, 18> kOperators = {{{"**", 9},
                                                           {"<<", 6},
                                                           {">>", 6},
                                                           {"<=", 5},
                                                           {">=", 5},
                                                           {"==", 4},
                                                           {"!=", 4},
                                                           {"&&", 1},
                                                           {"||", 0},
                                                           {"*", 8},
                                                           {"/", 8},
                                                           {"%", 8},
                                                           {"+", 7},
                                                           {"-", 7},
                                                           {"<", 5},
                                                           {">", 5},
                                                           {"&", 3},
                                                           {"|", 2}}};

  void skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n'))
      ++at_;
  }
  bool take(std::string_view what) {
    skip();
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }

  std::int64_t choice(int depth) {
    const std::int64_t condition = binary(0, depth + 1);
    if (!take("?")) return condition;
    const std::int64_t yes = choice(depth + 1);
    if (!take(":")) throw NotPlain();
    const std::int64_t no = choice(depth + 1);
    return condition != 0 ? yes : no;
  }

  std::int64_t binary(int level, int depth) {
    if (depth > 200) throw NotPlain();
    std::int64_t left = unary(depth + 1);
    for (;;) {
      skip();
      const Operator* found = nullptr;
      for (const Operator& op : kOperators)
        if (!found && text_.substr(at_).starts_with(op.text)) found = &op;
      if (!found || found->level < level) return left;
      at_ += found->text.size();
      const bool right_first = found->text == "**";
      left = apply(found->text, left, binary(found->level + (right_first ? 0 : 1), depth + 1));
    }
  }

  static std::int64_t apply(std::string_view op, std::int64_t a, std::int64_t b) {
    std::int64_t out = 0;
    if (op == "+") return __builtin_add_overflow(a, b, &out) ? throw NotPlain() : out;
    if (op == "-") return __builtin_sub_overflow(a, b, &out) ? throw NotPlain() : out;
    if (op == "*") return __builtin_mul_overflow(a, b, &out) ? throw NotPlain() : out;
    if (op == "/" || op == "%") {
      if (b == 0 || (b == -1 && a == INT64_MIN)) throw NotPlain();
      return op == "/" ? a / b : a % b;
    }
    if (op == "**") {
      if (b < 0 || b > 62) throw NotPlain();
      for (out = 1; b > 0; --b)
        if (__builtin_mul_overflow(out, a, &out)) throw NotPlain();
      return out;
    }
    if (op == "<<" || op == ">>") {
      if (b < 0 || b > 62 || a < 0) throw NotPlain();
      return op == ">>" ? a >> b : static_cast<std::int64_t>(static_cast<std::uint64_t>(a) << b);
    }
    if (op == "<") return a < b;
    if (op == ">") return a > b;
    if (op == "<=") return a <= b;
    if (op == ">=") return a >= b;
    if (op == "==") return a == b;
    if (op == "!=") return a != b;
    if (op == "&&") return a != 0 && b != 0;
    if (op == "||") return a != 0 || b != 0;
    return op == "&" ? a & b : a | b;
  }

  std::int64_t unary(int depth) {
    if (depth > 200) throw NotPlain();
    if (take("(")) {
      const std::int64_t value = choice(depth + 1);
      if (!take(")")) throw NotPlain();
      return value;
    }
    if (take("-")) return apply("-", 0, unary(depth + 1));
    if (take("+")) return unary(depth + 1);
    if (take("!")) return unary(depth + 1) == 0;
    skip();
    const std::size_t end = text_.find_first_not_of("0123456789", at_);
    const auto number = whole_number(std::string(text_.substr(at_, end - at_)));
    if (!number) throw NotPlain();
    at_ = std::min(end, text_.size());
    return *number;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

std::optional<std::int64_t> arithmetic(const std::string& text) {
  try {
    return Arithmetic(text).whole();
  } catch (const NotPlain&) {
    return std::nullopt;
  }
}

}  // namespace weft
