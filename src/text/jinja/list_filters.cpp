// Filters of lists. What Python makes a generator of is one here too: it is read once, and has no
// length.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/text.h"

namespace weft::jinja {
namespace {

using Path = std::vector<Value>;  // "a.0.b" as "a", 0, "b"

Path path_of(const Value* name) {
  Path path;
  if (name == nullptr || name->is_none()) return path;
  if (!name->is_string()) return {*name};
  for (const std::string& part : split(name->text(), std::string("."), -1, false)) {
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    path.push_back(digits ? integer(parse_integer(part, 10).value_or(0)) : string(part));
  }
  return path;
}

Value follow(Value from, const Path& path, Budget& budget) {
  for (const Value& part : path) from = item(from, part, budget);
  return from;
}

Value without_case(const Value& v) { return v.is_string() ? string(lower(v.text())) : v; }

// Sorted by keys of one or more parts; equal ones keep their order, also when reversed.
std::vector<Value> sorted(const std::vector<Value>& items,
                          const std::vector<std::vector<Value>>& keys, bool reverse,
                          Budget& budget) {
  std::vector<std::size_t> order(items.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = reverse ? order.size() - 1 - i : i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    for (std::size_t k = 0; k < keys[a].size(); ++k) {
      if (equal(keys[a][k], keys[b][k], budget)) continue;
      return less(keys[a][k], keys[b][k], budget);
    }
    return false;
  });
  if (reverse) std::reverse(order.begin(), order.end());
  std::vector<Value> out;
  for (const std::size_t i : order) out.push_back(items[i]);
  return out;
}

Value sort_filter(const Value& v, const Parameters& p, Budget& budget) {
  std::vector<Path> paths;
  if (p[2] != nullptr && p[2]->is_string()) {
    for (const std::string& part : split(p[2]->text(), std::string(","), -1, false)) {
      const Value name = string(part);
      paths.push_back(path_of(&name));
    }
  } else {
    paths.push_back(path_of(p[2]));
  }
  const std::vector<Value> items = iterate(v, budget);
  std::vector<std::vector<Value>> keys;
  for (const Value& one : items) {
    keys.emplace_back();
    for (const Path& path : paths) {
      const Value key = follow(one, path, budget);
      keys.back().push_back(p.flag(1) ? key : without_case(key));
    }
  }
  return sequence(Kind::list, sorted(items, keys, p.flag(0), budget));
}

Value dictsort(const Value& v, const Parameters& p, Budget& budget) {
  const std::string by = p.text(1).value_or("key");
  if (by != "key" && by != "value") fault("dictsort sorts by 'key' or 'value'");
  if (!v.is_dict())
    fault("{}",
          v.is_undefined() ? v.text() : fmt::format("dictsort takes a dict, not {}", type_name(v)));
  std::vector<Value> items;
  std::vector<std::vector<Value>> keys;
  for (const auto& [key, value] : v.pairs()) {
    items.push_back(sequence(Kind::tuple, {key, value}));
    const Value& sorts = by == "key" ? key : value;
    keys.push_back({p.flag(0) ? sorts : without_case(sorts)});
  }
  return sequence(Kind::list, sorted(items, keys, p.flag(2), budget));
}

Value least(const Value& v, const Parameters& p, bool greatest, Budget& budget) {
  const std::vector<Value> items = iterate(v, budget);
  if (items.empty()) return undefined("no aggregated item, sequence was empty");
  const Path path = path_of(p[1]);
  const auto key = [&](const Value& one) {
    const Value k = follow(one, path, budget);
    return p.flag(0) ? k : without_case(k);
  };
  std::size_t best = 0;
  for (std::size_t i = 1; i < items.size(); ++i) {
    if (greatest ? less(key(items[best]), key(items[i]), budget)
                 : less(key(items[i]), key(items[best]), budget))
      best = i;
  }
  return items[best];
}

Value unique(const Value& v, const Parameters& p, Budget& budget) {
  const Path path = path_of(p[1]);
  std::vector<Value> out;
  Pairs seen;
  for (const Value& one : iterate(v, budget)) {
    const Value key = follow(one, path, budget), folded = p.flag(0) ? key : without_case(key);
    if (find(seen, folded, budget) != nullptr) continue;
    put(seen, folded, none(), budget);
    out.push_back(one);
  }
  return sequence(Kind::iterator, std::move(out));
}

// The items of select, reject, selectattr and rejectattr: those of which the test named by the
// arguments holds, or does not.
Value selected(const std::string& name, const Value& v, const Arguments& arguments,
               Budget& budget) {
  const bool by_attribute = name.ends_with("attr"), keep = name.starts_with("select");
  std::size_t used = 0;
  Path path;
  if (by_attribute) {
    if (arguments.positional.empty()) fault("{} needs the name of an attribute", name);
    path = path_of(&arguments.positional[used++]);
  }
  std::string test;
  Arguments rest;
  rest.named = arguments.named;
  if (used < arguments.positional.size()) {
    if (!arguments.positional[used].is_string()) fault("{}: a test's name is to be a string", name);
    test = arguments.positional[used++].text();
    rest.positional.assign(arguments.positional.begin() + static_cast<std::ptrdiff_t>(used),
                           arguments.positional.end());
  }
  std::vector<Value> out;
  for (const Value& one : truth(v) ? iterate(v, budget) : std::vector<Value>()) {
    const Value asked = follow(one, path, budget);
    if ((test.empty() ? truth(asked) : apply_test(test, asked, rest, budget)) == keep)
      out.push_back(one);
  }
  return sequence(Kind::iterator, std::move(out));
}

Value mapped(const Value& v, const Arguments& arguments, Budget& budget) {
  std::vector<Value> out;
  if (arguments.positional.empty()) {
    const Parameters p("map", arguments, {"attribute", "default"});
    const Path path = path_of(&p.required(0));
    for (const Value& one : truth(v) ? iterate(v, budget) : std::vector<Value>()) {
      Value found = one;
      for (const Value& part : path) {
        found = item(found, part, budget);
        if (found.is_undefined() && p[1] != nullptr && !p[1]->is_none()) found = *p[1];
      }
      out.push_back(std::move(found));
    }
  } else {
    if (!arguments.positional[0].is_string()) fault("map: a filter's name is to be a string");
    Arguments rest;
    rest.positional.assign(arguments.positional.begin() + 1, arguments.positional.end());
    rest.named = arguments.named;
    for (const Value& one : truth(v) ? iterate(v, budget) : std::vector<Value>())
      out.push_back(apply_filter(arguments.positional[0].text(), one, rest, budget));
  }
  return sequence(Kind::iterator, std::move(out));
}

Value first_of(const Value& v, Budget& budget) {
  if (v.kind == Kind::iterator) {
    auto& it = static_cast<Items&>(*v.object);
    return it.next < it.items.size() ? it.items[it.next++]
                                     : undefined("no first item, sequence was empty");
  }
  const std::vector<Value> items = iterate(v, budget);
  return items.empty() ? undefined("no first item, sequence was empty") : items.front();
}

Value reversed(const Value& v, Budget& budget) {
  std::vector<Value> items = iterate(v, budget);
  std::reverse(items.begin(), items.end());
  if (!v.is_string())
    return sequence(v.kind == Kind::iterator ? Kind::list : Kind::iterator, std::move(items));
  std::string out;
  for (const Value& one : items) out += one.text();
  return string(std::move(out));
}

Value joined(const Value& v, const Parameters& p, Budget& budget) {
  const std::string separator = p[0] != nullptr ? str(*p[0], budget) : "";
  const Path path = path_of(p[1]);
  std::string out;
  bool first = true;
  for (const Value& one : iterate(v, budget)) {
    if (!first) {
      budget.bytes(separator.size());
      out += separator;
    }
    first = false;
    out += str(follow(one, path, budget), budget);
  }
  return string(std::move(out));
}

Value summed(const Value& v, const Parameters& p, Budget& budget) {
  const Path path = path_of(p[0]);
  Value total = p[1] != nullptr ? *p[1] : integer(0);
  if (total.is_string()) fault("sum cannot add strings; use join");
  for (const Value& one : iterate(v, budget))
    total = arithmetic("+", total, follow(one, path, budget), budget);
  return total;
}

Value batches(const Value& v, const Parameters& p, Budget& budget) {
  const std::int64_t n = p.integer(0, 0);
  p.required(0);
  std::vector<Value> out, batch;
  for (const Value& one : iterate(v, budget)) {
    if (static_cast<std::int64_t>(batch.size()) == n)
      out.push_back(sequence(Kind::list, std::exchange(batch, {})));
    batch.push_back(one);
  }
  if (batch.empty()) return sequence(Kind::iterator, std::move(out));
  while (p[1] != nullptr && !p[1]->is_none() && static_cast<std::int64_t>(batch.size()) < n) {
    budget.bytes(sizeof(Value));
    batch.push_back(*p[1]);
  }
  out.push_back(sequence(Kind::list, std::move(batch)));
  return sequence(Kind::iterator, std::move(out));
}

}  // namespace

std::optional<Value> apply_list_filter(const std::string& name, const Value& to,
                                       const Arguments& arguments, Budget& budget) {
  const auto parameters = [&](std::vector<const char*> names) {
    return Parameters(name, arguments, std::move(names));
  };
  if (name == "join") return joined(to, parameters({"d", "attribute"}), budget);
  if (name == "list") return parameters({}), sequence(Kind::list, iterate(to, budget));
  if (name == "first") return parameters({}), first_of(to, budget);
  if (name == "last") {
    parameters({});
    if (to.kind == Kind::iterator) fault("'generator' object is not reversible");
    const std::vector<Value> items = iterate(to, budget);
    return items.empty() ? undefined("no last item, sequence was empty") : items.back();
  }
  if (name == "items") {
    parameters({});
    if (!to.is_undefined() && !to.is_dict()) fault("items takes a dict, not {}", type_name(to));
    std::vector<Value> pairs;
    if (to.is_dict()) {
      for (const auto& [key, value] : to.pairs())
        pairs.push_back(sequence(Kind::tuple, {key, value}));
    }
    budget.bytes(pairs.size() * 4 * sizeof(Value));
    return sequence(Kind::iterator, std::move(pairs));
  }
  if (name == "dictsort")
    return dictsort(to, parameters({"case_sensitive", "by", "reverse"}), budget);
  if (name == "sort")
    return sort_filter(to, parameters({"reverse", "case_sensitive", "attribute"}), budget);
  if (name == "unique") return unique(to, parameters({"case_sensitive", "attribute"}), budget);
  if (name == "min" || name == "max")
    return least(to, parameters({"case_sensitive", "attribute"}), name == "max", budget);
  if (name == "sum") return summed(to, parameters({"attribute", "start"}), budget);
  if (name == "batch") return batches(to, parameters({"linecount", "fill_with"}), budget);
  if (name == "reverse") return parameters({}), reversed(to, budget);
  if (name == "map") return mapped(to, arguments, budget);
  if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr")
    return selected(name, to, arguments, budget);
  return std::nullopt;
}

}  // namespace weft::jinja
