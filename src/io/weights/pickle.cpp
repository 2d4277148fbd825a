#include "io/weights/pickle.h"

#include <bit>
#include <charconv>
#include <cstring>
#include <map>

#include "core/check.h"

namespace weft {
namespace {

constexpr std::size_t kMaxValues = 1 << 24;  // a model of 100,000 tensors has about 2 million

std::string shown(std::string text) {
  for (char& c : text)
    if (c < ' ' || c > '~') c = '?';
  return text.substr(0, 120);
}

}  // namespace

// The stack machine that a pickle is a program for. Values refer to each other by number, so that
// no depth of nesting costs stack here.
class PickleMachine {
 public:
  PickleMachine(Pickle& pickle, const std::string& origin, std::span<const std::byte> bytes,
                const std::function<bool(std::string_view)>& allowed)
      : pickle_(pickle), origin_(origin), bytes_(bytes), allowed_(allowed) {}

  PickleRef run() {
    while (true) {
      const auto op = number<std::uint8_t>();
      if (op == '.') return pop();
      if (!simple(op) && !collection(op) && !text(op) && !memo(op) && !object(op))
        user_error("{}: opcode {:#04x} at byte {} is not one that tensors are stored with", origin_,
                   op, at_ - 1);
    }
  }

 private:
  PickleRef add(PickleValue value) {
    CHECK_USER(pickle_.values_.size() < kMaxValues, "{}: holds more than {} values", origin_,
               kMaxValues);
    pickle_.values_.push_back(std::move(value));
    return static_cast<PickleRef>(pickle_.values_.size() - 1);
  }
  void push(PickleValue value) { stack_.push_back(add(std::move(value))); }
  bool push_integer(std::int64_t n) {
    push({.kind = PickleKind::integer,
          .integer = n,
          .number = static_cast<double>(n),
          .text = {},
          .of = 0,
          .items = {}});
    return true;
  }
  bool push_text(std::string text, PickleKind kind = PickleKind::text) {
    push({.kind = kind, .integer = 0, .number = 0, .text = std::move(text), .of = 0, .items = {}});
    return true;
  }
  bool push_items(PickleKind kind, std::vector<PickleRef> items) {
    push({.kind = kind, .integer = 0, .number = 0, .text = {}, .of = 0, .items = std::move(items)});
    return true;
  }
  bool push_of(PickleKind kind, std::string text, PickleRef of) {
    push({.kind = kind, .integer = 0, .number = 0, .text = std::move(text), .of = of, .items = {}});
    return true;
  }

  [[noreturn]] void damaged() const {
    user_error("{}: is no pickle, or it is damaged (near byte {})", origin_, at_);
  }
  PickleRef pop() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) damaged();
    const PickleRef top = stack_.back();
    stack_.pop_back();
    return top;
  }
  PickleValue& top() {
    if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) damaged();
    return pickle_.values_[stack_.back()];
  }
  // What lies above the last mark, which goes too.
  std::vector<PickleRef> pop_to_mark() {
    if (marks_.empty()) damaged();
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<PickleRef> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }

  std::string take(std::uint64_t n) {
    if (n > bytes_.size() - at_) damaged();
    at_ += n;
    return {reinterpret_cast<const char*>(bytes_.data()) + at_ - n, static_cast<std::size_t>(n)};
  }
  template <class T>
  T number() {
    if (sizeof(T) > bytes_.size() - at_) damaged();
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  std::string line() {
    const auto* begin = reinterpret_cast<const char*>(bytes_.data()) + at_;
    const std::size_t end = std::string_view(begin, bytes_.size() - at_).find('\n');
    if (end == std::string_view::npos) damaged();
    at_ += end + 1;
    return {begin, end};
  }
  // Little-endian, two's complement. A longer one is a hash or the like, and no size of ours.
  bool push_long(std::uint64_t n) {
    const std::string digits = take(n);
    if (n > 8) return push_text(digits, PickleKind::none);
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < digits.size(); ++i)
      bits |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(digits[i])) << (8 * i);
    if (n > 0 && n < 8 && (digits.back() & '\x80')) bits |= ~std::uint64_t{0} << (8 * n);
    return push_integer(static_cast<std::int64_t>(bits));
  }
  bool push_decimal(std::string text) {
    if (text.ends_with('L')) text.pop_back();
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc() || end != text.data() + text.size()) damaged();
    return push_integer(n);
  }
  bool push_bool(bool value) {
    push_integer(value ? 1 : 0);
    pickle_.values_.back().kind = PickleKind::boolean;
    return true;
  }

  bool simple(std::uint8_t op) {
    switch (op) {
      case 0x80:  // PROTO
        if (number<std::uint8_t>() > 5) damaged();
        return true;
      case 0x95:  // FRAME
        number<std::uint64_t>();
        return true;
      case 'N':
        push({});
        return true;
      case 0x88:
        return push_bool(true);
      case 0x89:
        return push_bool(false);
      case 'K':
        return push_integer(number<std::uint8_t>());
      case 'M':
        return push_integer(number<std::uint16_t>());
      case 'J':
        return push_integer(number<std::int32_t>());
      case 0x8a:
        return push_long(number<std::uint8_t>());
      case 0x8b:
        return push_long(number<std::uint32_t>());
      case 'I': {
        const std::string digits = line();
        return digits == "00" || digits == "01" ? push_bool(digits == "01") : push_decimal(digits);
      }
      case 'L':
        return push_decimal(line());
      case 'G': {  // big-endian
        const auto bits = __builtin_bswap64(number<std::uint64_t>());
        push({});
        pickle_.values_.back().kind = PickleKind::number;
        pickle_.values_.back().number = std::bit_cast<double>(bits);
        return true;
      }
      default:
        return false;
    }
  }

  bool text(std::uint8_t op) {
    switch (op) {
      case 'X':
      case 'B':
      case 'T':
        return push_text(take(number<std::uint32_t>()));
      case 0x8c:  // SHORT_BINUNICODE
      case 'C':
      case 'U':
        return push_text(take(number<std::uint8_t>()));
      case 0x8d:  // BINUNICODE8
      case 0x8e:  // BINBYTES8
        return push_text(take(number<std::uint64_t>()));
      case 'V':  // escapes stay as they are: no tensor's name has any
        return push_text(line());
      default:
        return false;
    }
  }

  bool collection(std::uint8_t op) {
    switch (op) {
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case ')':
      case ']':
      case 0x8f:  // EMPTY_SET
        return push_items(PickleKind::list, {});
      case '}':
        return push_items(PickleKind::dict, {});
      case 't':
      case 'l':
        return push_items(PickleKind::list, pop_to_mark());
      case 'd':
        return push_items(PickleKind::dict, pop_to_mark());
      case 0x85:
      case 0x86:
      case 0x87: {  // TUPLE1 to TUPLE3
        std::vector<PickleRef> items(op - 0x84u);
        for (auto item = items.rbegin(); item != items.rend(); ++item) *item = pop();
        return push_items(PickleKind::list, std::move(items));
      }
      case 'a':
        return append({pop()}, PickleKind::list);
      case 'e':
      case 0x90:  // ADDITEMS
        return append(pop_to_mark(), PickleKind::list);
      case 's': {
        const PickleRef value = pop(), key = pop();
        return append({key, value}, PickleKind::dict);
      }
      case 'u':
        return append(pop_to_mark(), PickleKind::dict);
      default:
        return false;
    }
  }
  bool append(const std::vector<PickleRef>& items, PickleKind kind) {
    PickleValue& to = top();
    if (to.kind != kind && to.kind != PickleKind::call) damaged();
    if (kind == PickleKind::dict && items.size() % 2 != 0) damaged();
    to.items.insert(to.items.end(), items.begin(), items.end());
    return true;
  }

  bool memo(std::uint8_t op) {
    switch (op) {
      case 'q':
        return put(number<std::uint8_t>());
      case 'r':
        return put(number<std::uint32_t>());
      case 'p':
        return put(memo_line());
      case 0x94:  // MEMOIZE
        return put(static_cast<std::uint32_t>(memo_.size()));
      case 'h':
        return get(number<std::uint8_t>());
      case 'j':
        return get(number<std::uint32_t>());
      case 'g':
        return get(memo_line());
      case '0':
        pop();
        return true;
      case '1':
        pop_to_mark();
        return true;
      case '2':
        top();
        stack_.push_back(stack_.back());
        return true;
      default:
        return false;
    }
  }
  std::uint32_t memo_line() {
    const std::string digits = line();
    std::uint32_t n = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), n);
    if (error != std::errc() || end != digits.data() + digits.size()) damaged();
    return n;
  }
  bool put(std::uint32_t key) {
    top();
    memo_[key] = stack_.back();
    return true;
  }
  bool get(std::uint32_t key) {
    const auto at = memo_.find(key);
    if (at == memo_.end()) damaged();
    stack_.push_back(at->second);
    return true;
  }

  bool object(std::uint8_t op) {
    switch (op) {
      case 'c': {
        std::string name = line();
        return global(name + "." + line());
      }
      case 0x93: {  // STACK_GLOBAL
        const PickleValue &name = pickle_.values_[pop()], &module = pickle_.values_[pop()];
        if (name.kind != PickleKind::text || module.kind != PickleKind::text) damaged();
        return global(module.text + "." + name.text);
      }
      case 'R':
      case 0x81: {  // NEWOBJ
        const PickleRef arguments = pop();
        return call(pop(), arguments);
      }
      case 'b':  // BUILD: an object's own state, such as a dict's _metadata
        pop();
        top();
        return true;
      case 'Q':
        return push_of(PickleKind::persistent, "", pop());
      case 'i': {  // INST: a class and its object in one
        std::string name = line();
        global(name + "." + line());
        const PickleRef callee = pop();
        push_items(PickleKind::list, pop_to_mark());
        return call(callee, pop());
      }
      default:
        return false;
    }
  }
  bool global(std::string name) {
    CHECK_USER(allowed_(name),
               "{}: names {}, which is no part of a tensor and is not run; only a state dict of "
               "tensors is read (torch.save(model.state_dict(), …), or save_pretrained)",
               origin_, shown(name));
    return push_text(std::move(name), PickleKind::global);
  }
  bool call(PickleRef callee, PickleRef arguments) {
    const PickleValue& what = pickle_.values_[callee];
    if (what.kind != PickleKind::global || pickle_.values_[arguments].kind != PickleKind::list)
      damaged();
    return push_of(PickleKind::call, what.text, arguments);
  }

  Pickle& pickle_;
  const std::string& origin_;
  std::span<const std::byte> bytes_;
  const std::function<bool(std::string_view)>& allowed_;
  std::size_t at_ = 0;
  std::vector<PickleRef> stack_;
  std::vector<std::size_t> marks_;
  std::map<std::uint32_t, PickleRef> memo_;
};

Pickle::Pickle(std::string origin, std::span<const std::byte> bytes,
               const std::function<bool(std::string_view)>& allowed) {
  root_ = PickleMachine(*this, origin, bytes, allowed).run();
}

}  // namespace weft
