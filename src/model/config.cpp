#include "model/config.h"

#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "core/short_decimal.h"
#include "model/config_fields.h"

namespace weft {
namespace {

void validate_rope(const ModelConfig& c, const std::string& origin) {
  const Rope& r = c.rope;
  CHECK_USER(r.dims >= 2 && r.dims % 2 == 0 && r.dims <= c.head_dim,
             "{}: {} of the {} dims of a head turn by position; allowed: an even number, 2 to {}",
             origin, r.dims, c.head_dim, c.head_dim);
  const bool stretched = r.scaling == RopeScaling::llama3 || r.scaling == RopeScaling::yarn ||
                         r.scaling == RopeScaling::longrope;
  if (stretched)
    check_allowed(origin + ": original_max_position_embeddings", r.original_context,
                  Integers{1, kMaxContext});
  if (r.scaling == RopeScaling::llama3)
    CHECK_USER(r.low_freq_factor > 0 && r.high_freq_factor > r.low_freq_factor,
               "{}: low_freq_factor is {} and high_freq_factor {}; allowed: 0 < low < high", origin,
               r.low_freq_factor, r.high_freq_factor);
  const auto half = static_cast<std::size_t>(r.dims / 2);
  for (const auto* list : {&r.short_factors, &r.long_factors}) {
    const bool needed = r.scaling == RopeScaling::longrope ||
                        (r.scaling == RopeScaling::factors && list == &r.short_factors);
    CHECK_USER(!needed || list->size() == half,
               "{}: a list of rope factors has {} entries; allowed: {}, half the dims that turn",
               origin, list->size(), half);
  }
}

// Every kind of field against what visit_fields allows it.
struct CheckField {
  const std::string& origin;

  template <class T, class A>
  void operator()(const char* name, const T& value, const A& allowed, Decides) const {
    check(fmt::format("{}: {}", origin, name), value, allowed);
  }

 private:
  template <class T>
  static void check(const std::string&, const T&, const Anything&) {}
  template <class T>
  requires std::is_integral_v<T>
  static void check(const std::string& what, T value, const Integers& allowed) {
    check_allowed(what, static_cast<std::int64_t>(value), allowed);
  }
  static void check(const std::string& what, float value, const Reals& allowed) {
    check_allowed(what, short_decimal(value), allowed);
  }
  static void check(const std::string& what, double value, const Reals& allowed) {
    check_allowed(what, value, allowed);
  }
  template <class E, std::size_t n>
  static void check(const std::string& what, E value, const Word<E> (&table)[n]) {
    const bool known = std::any_of(std::begin(table), std::end(table),
                                   [&](const Word<E>& word) { return word.value == value; });
    CHECK(known, "{} is {}, which has no word", what, static_cast<int>(value));
  }
  template <class T, class A>
  requires(!std::is_same_v<A, Anything>) static void check(const std::string& what,
                                                           const std::vector<T>& list,
                                                           const A& allowed) {
    for (const T& entry : list) check(what, entry, allowed);
  }
};

// A field as logs and messages show it: an enum as its word, a float by its shortest decimal.
struct ShowField {
  template <class T>
  static OrderedJson of(const T& value, const Integers&) {
    return value;
  }
  template <class T>
  static OrderedJson of(const T& value, const Anything&) {
    return value;
  }
  static OrderedJson of(float value, const Reals&) { return short_decimal(value); }
  template <class T>
  static OrderedJson of(const T& value, const Reals&) {
    return value;
  }
  template <class E, std::size_t n>
  static OrderedJson of(E value, const Word<E> (&table)[n]) {
    for (const Word<E>& word : table)
      if (word.value == value) return word.text;
    return static_cast<int>(value);
  }
};

std::string text_of(const OrderedJson& value) {
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

struct ShownField {
  const char* name;
  OrderedJson value;
  bool is_compared;
};
std::vector<ShownField> all_shown(const ModelConfig& c) {
  std::vector<ShownField> list;
  visit_fields(c, [&](const char* name, const auto& value, const auto& allowed, Decides decides) {
    list.push_back({name, ShowField::of(value, allowed), decides == Decides::model});
  });
  return list;
}

}  // namespace

void validate(const ModelConfig& c, const std::string& origin) {
  visit_fields(c, CheckField{origin});
  CHECK_USER(c.kv_heads <= c.heads && c.heads % c.kv_heads == 0,
             "{}: {} heads are not a multiple of {} KV heads", origin, c.heads, c.kv_heads);
  if (c.positions == Positions::rope) validate_rope(c, origin);
  CHECK_USER(c.windowed.empty() || static_cast<std::int64_t>(c.windowed.size()) == c.layers,
             "{}: layer_types has {} entries for {} layers", origin, c.windowed.size(), c.layers);
  CHECK_USER(!c.token_dropout || c.mask_id >= 0,
             "{}: token_dropout is true, but mask_token_id is missing", origin);
  CHECK_USER(!c.pad_keeps_position || c.pad_id >= 0,
             "{}: pad_token_id is missing; positions are counted from it", origin);
}

std::string first_difference(const ModelConfig& a, const ModelConfig& b) {
  const std::vector<ShownField> all = all_shown(a), others = all_shown(b);
  for (std::size_t i = 0; i < all.size(); ++i)
    if (all[i].is_compared && others[i].is_compared && all[i].value != others[i].value)
      return fmt::format("{} is {}, not {}", all[i].name, text_of(all[i].value),
                         text_of(others[i].value));
  return "";
}

OrderedJson shown_fields(const ModelConfig& config, std::initializer_list<const char*> names) {
  const std::vector<ShownField> all = all_shown(config);
  OrderedJson shown = OrderedJson::object();
  for (const char* name : names) {
    const auto at = std::find_if(all.begin(), all.end(), [&](const ShownField& field) {
      return std::strcmp(field.name, name) == 0;
    });
    CHECK(at != all.end(), "no field of a model is called {}", name);
    shown[name] = at->value;
  }
  return shown;
}

}  // namespace weft
