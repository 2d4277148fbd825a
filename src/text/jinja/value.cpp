#include "text/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "text/characters/unicode.h"
#include "text/jinja/text.h"

namespace weft::jinja {
namespace {

int depth_of(const Value& v) {
  if (const auto* items = dynamic_cast<const Items*>(v.object.get())) return items->depth;
  if (const auto* d = dynamic_cast<const Dict*>(v.object.get());
      d != nullptr && v.kind == Kind::dict)
    return d->depth;
  return 0;
}

int depth_around(int inside) {
  if (inside >= kMaxValueDepth)
    fault("lists and dicts are nested more than {} deep", kMaxValueDepth);
  return inside + 1;
}

void check_hashable(const Value& v) {
  if (v.kind == Kind::list || v.kind == Kind::dict || v.kind == Kind::space)
    fault("unhashable type: '{}'", type_name(v));
  if (v.kind == Kind::tuple) {
    for (const Value& item : v.items()) check_hashable(item);
  }
}

bool same_items(const std::vector<Value>& a, const std::vector<Value>& b, Budget& budget) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!equal(a[i], b[i], budget)) return false;
  }
  return true;
}

bool less_items(const std::vector<Value>& a, const std::vector<Value>& b, Budget& budget) {
  const std::size_t n = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < n; ++i) {
    if (!equal(a[i], b[i], budget)) return less(a[i], b[i], budget);
  }
  return a.size() < b.size();
}

}  // namespace

void Budget::steps(std::size_t n) {
  steps_left_ -=
      static_cast<std::int64_t>(std::min<std::size_t>(n, std::numeric_limits<std::int32_t>::max()));
  if (steps_left_ < 0) fault("the template does not end in reasonable time");
}

void Budget::bytes(std::size_t n) {
  bytes_left_ -= static_cast<std::int64_t>(
      std::min<std::size_t>(n, std::numeric_limits<std::int64_t>::max() / 2));
  if (bytes_left_ < 0) fault("the template makes more text than is reasonable");
}

const std::string& Value::text() const {
  static const std::string kNothing;
  if (const auto* view = dynamic_cast<const Items*>(object.get())) return view->name;
  const auto* t = dynamic_cast<const Text*>(object.get());
  return t == nullptr ? kNothing : t->text;
}

const std::vector<Value>& Value::items() const { return static_cast<const Items&>(*object).items; }
const Pairs& Value::pairs() const { return static_cast<const Dict&>(*object).pairs; }

namespace {

Value make(Kind kind, std::int64_t i = 0) {
  Value v;
  v.kind = kind;
  v.integer = i;
  return v;
}

Value with_text(Kind kind, std::string s) {
  Value v = make(kind);
  auto t = std::make_shared<Text>();
  t->text = std::move(s);
  v.object = std::move(t);
  return v;
}

}  // namespace

Value none() { return make(Kind::none); }
Value boolean(bool b) { return make(Kind::boolean, b ? 1 : 0); }
Value integer(std::int64_t i) { return make(Kind::integer, i); }
Value string(std::string s) { return with_text(Kind::string, std::move(s)); }
Value undefined(std::string missing) { return with_text(Kind::undefined, std::move(missing)); }
Value function(std::string name) { return with_text(Kind::function, std::move(name)); }

Value real(double d) {
  Value v;
  v.kind = Kind::real;
  v.real = d;
  return v;
}

Value sequence(Kind kind, std::vector<Value> items, std::string name) {
  Value v = make(kind);
  auto made = std::make_shared<Items>();
  int inside = 0;
  for (const Value& item : items) inside = std::max(inside, depth_of(item));
  made->depth = depth_around(inside);
  made->items = std::move(items);
  made->name = std::move(name);
  v.object = std::move(made);
  return v;
}

Value dict(Pairs pairs) {
  Value v = make(Kind::dict);
  auto made = std::make_shared<Dict>();
  int inside = 0;
  for (const auto& [key, value] : pairs)
    inside = std::max({inside, depth_of(key), depth_of(value)});
  made->depth = depth_around(inside);
  made->pairs = std::move(pairs);
  v.object = std::move(made);
  return v;
}

Value from_json(const OrderedJson& json, int depth) {
  depth_around(depth);
  switch (json.type()) {
    case OrderedJson::value_t::boolean:
      return boolean(json.get<bool>());
    case OrderedJson::value_t::number_integer:
      return integer(json.get<std::int64_t>());
    case OrderedJson::value_t::number_unsigned:
      if (json.get<std::uint64_t>() >
          static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        fault("the number {} is too large", json_text(json));
      return integer(json.get<std::int64_t>());
    case OrderedJson::value_t::number_float:
      return real(json.get<double>());
    case OrderedJson::value_t::string:
      return string(json.get<std::string>());
    case OrderedJson::value_t::array: {
      std::vector<Value> items;
      for (const OrderedJson& item : json) items.push_back(from_json(item, depth + 1));
      return sequence(Kind::list, std::move(items));
    }
    case OrderedJson::value_t::object: {
      Pairs pairs;
      for (const auto& [key, value] : json.items())
        pairs.emplace_back(string(key), from_json(value, depth + 1));
      return dict(std::move(pairs));
    }
    default:
      return none();
  }
}

const char* type_name(const Value& v) {
  switch (v.kind) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return "str";
    case Kind::list:
      return "list";
    case Kind::tuple:
      return "tuple";
    case Kind::range:
      return "range";
    case Kind::view:
      return v.text().c_str();
    case Kind::iterator:
      return "generator";
    case Kind::dict:
      return "dict";
    case Kind::space:
      return "namespace";
    case Kind::method:
      return "method";
    case Kind::function:
      return "function";
    case Kind::macro:
      return "macro";
    default:
      return "loop";
  }
}

bool truth(const Value& v) {
  switch (v.kind) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return v.integer != 0;
    case Kind::real:
      return v.real != 0;
    case Kind::string:
      return !v.text().empty();
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
    case Kind::view:
      return !v.items().empty();
    case Kind::dict:
      return !v.pairs().empty();
    default:
      return true;
  }
}

bool equal(const Value& a, const Value& b, Budget& budget) {
  budget.steps();
  if (a.is_number() && b.is_number())
    return a.is_integral() && b.is_integral() ? a.integer == b.integer : a.number() == b.number();
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::undefined:
    case Kind::none:
      return true;
    case Kind::string:
      return a.text() == b.text();
    case Kind::list:
    case Kind::tuple:
    case Kind::range:
      return a.object == b.object || same_items(a.items(), b.items(), budget);
    case Kind::dict: {
      if (a.object == b.object) return true;
      if (a.pairs().size() != b.pairs().size()) return false;
      for (const auto& [key, value] : a.pairs()) {
        const Value* other = find(b.pairs(), key, budget);
        if (other == nullptr || !equal(value, *other, budget)) return false;
      }
      return true;
    }
    case Kind::function:
      return a.text() == b.text();
    default:
      return a.object == b.object;
  }
}

bool less(const Value& a, const Value& b, Budget& budget) {
  budget.steps();
  if (a.is_number() && b.is_number())
    return a.is_integral() && b.is_integral() ? a.integer < b.integer : a.number() < b.number();
  if (a.kind == b.kind && a.is_string()) return a.text() < b.text();
  if (a.kind == b.kind && (a.kind == Kind::list || a.kind == Kind::tuple))
    return less_items(a.items(), b.items(), budget);
  if (a.is_undefined() || b.is_undefined()) fault("{}", a.is_undefined() ? a.text() : b.text());
  fault("'<' is not supported between '{}' and '{}'", type_name(a), type_name(b));
}

const Value* find(const Pairs& pairs, const Value& key, Budget& budget) {
  check_hashable(key);
  for (const auto& [k, value] : pairs) {
    if (equal(k, key, budget)) return &value;
  }
  return nullptr;
}

const Value* find(const Pairs& pairs, std::string_view key) {
  for (const auto& [k, value] : pairs) {
    if (k.is_string() && k.text() == key) return &value;
  }
  return nullptr;
}

void put(Pairs& pairs, const Value& key, const Value& value, Budget& budget) {
  check_hashable(key);
  for (auto& [k, old] : pairs) {
    if (!equal(k, key, budget)) continue;
    old = value;
    return;
  }
  budget.bytes(sizeof(Value));
  pairs.emplace_back(key, value);
}

bool contains(const Value& container, const Value& item, Budget& budget) {
  if (container.is_string()) {
    if (!item.is_string())
      fault("'in <string>' requires string as left operand, not {}", type_name(item));
    return find_text(container.text(), item.text(), 0) != std::string::npos;
  }
  if (container.is_dict()) return find(container.pairs(), item, budget) != nullptr;
  if (container.kind == Kind::iterator) {
    auto& it = static_cast<Items&>(*container.object);
    while (it.next < it.items.size()) {
      if (equal(it.items[it.next++], item, budget)) return true;
    }
    return false;
  }
  if (container.is_undefined()) return false;
  if (!container.is_sized()) fault("argument of type '{}' is not iterable", type_name(container));
  for (const Value& i : container.items()) {
    if (equal(i, item, budget)) return true;
  }
  return false;
}

std::vector<Value> iterate(const Value& v, Budget& budget) {
  std::vector<Value> items;
  if (v.is_sized()) {
    items = v.items();
  } else if (v.is_string()) {
    const std::string& s = v.text();
    budget.bytes(s.size() * sizeof(Value) * 2);
    for (std::size_t at = 0; at < s.size();) {
      const std::size_t n = character_at(s, at).bytes;
      items.push_back(string(s.substr(at, n)));
      at += n;
    }
  } else if (v.is_dict()) {
    for (const auto& pair : v.pairs()) items.push_back(pair.first);
  } else if (v.kind == Kind::iterator) {
    auto& it = static_cast<Items&>(*v.object);
    items.assign(it.items.begin() + static_cast<std::ptrdiff_t>(it.next), it.items.end());
    it.next = it.items.size();
  } else if (!v.is_undefined()) {
    fault("'{}' object is not iterable", type_name(v));
  }
  budget.steps(items.size());
  budget.bytes(items.size() * sizeof(Value));
  return items;
}

}  // namespace weft::jinja
