#include "text/truncation.h"

#include <algorithm>

#include "core/check.h"

namespace weft {
namespace {

template <class T>
std::vector<T> part_of(const std::vector<T>& all, std::int64_t begin, std::int64_t end) {
  return {all.begin() + begin, all.begin() + end};
}

Encoding part_of(const Encoding& e, std::int64_t begin, std::int64_t end) {
  return {part_of(e.ids, begin, end), part_of(e.type_ids, begin, end),
          part_of(e.offsets, begin, end), part_of(e.added, begin, end),
          part_of(e.mask, begin, end)};
}

std::int64_t size(const Encoding& e) { return static_cast<std::int64_t>(e.ids.size()); }

void cut(Parts& text, std::int64_t length, const Truncation& t) {
  const std::int64_t n = size(text.first);
  if (length >= n) return;
  const Encoding whole = std::move(text.first);
  text.first = {};
  if (length <= 0) {
    text.overflow.push_back(whole);
    return;
  }
  CHECK_USER(t.stride >= 0 && t.stride < length,
             "truncation's stride is {}; allowed: 0 to {} (below the {} tokens that are left for "
             "the text)",
             t.stride, length - 1, length);
  std::vector<std::pair<std::int64_t, std::int64_t>> parts;
  const std::int64_t step = length - t.stride;
  if (!t.left) {
    for (std::int64_t begin = 0; parts.empty() || parts.back().second < n; begin += step)
      parts.emplace_back(begin, std::min(begin + length, n));
  } else {
    for (std::int64_t end = n; parts.empty() || parts.back().first > 0; end -= step)
      parts.emplace_back(std::max<std::int64_t>(end - length, 0), end);
  }
  text.first = part_of(whole, parts[0].first, parts[0].second);
  for (std::size_t i = 1; i < parts.size(); ++i)
    text.overflow.push_back(part_of(whole, parts[i].first, parts[i].second));
}

}  // namespace

void truncate(Parts& first, Parts* second, const Truncation& t, std::int64_t room) {
  room = std::max<std::int64_t>(room, 0);
  const std::int64_t n_first = size(first.first), n_second = second ? size(second->first) : 0,
                     excess = n_first + n_second - room;
  CHECK_USER(
      t.strategy == "longest_first" || t.strategy == "only_first" || t.strategy == "only_second",
      "truncation's strategy is '{}'; allowed: longest_first, only_first, only_second",
      t.strategy.substr(0, 40));
  if (room == 0) {
    cut(first, 0, t);
    if (second) cut(*second, 0, t);
    return;
  }
  if (excess <= 0) return;
  if (t.strategy != "longest_first") {
    const bool of_first = t.strategy == "only_first";
    CHECK_USER(of_first || second,
               "truncation's strategy is only_second, but there is no second text");
    Parts& target = of_first ? first : *second;
    CHECK_USER(size(target.first) > excess,
               "truncation {} must take {} tokens from a text that has {}; shorten the other text "
               "or raise the length",
               t.strategy, excess, size(target.first));
    return cut(target, size(target.first) - excess, t);
  }
  if (!second) return cut(first, room, t);
  std::int64_t shorter = std::min(n_first, n_second),
               longer = shorter > room ? shorter : std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  cut(first, n_first > n_second ? longer : shorter, t);
  cut(*second, n_first > n_second ? shorter : longer, t);
}

void pad(std::vector<Encoding>& all, const Padding& p) {
  std::int64_t length = p.length;
  if (length == 0)
    for (const Encoding& e : all) length = std::max(length, size(e));
  if (p.multiple_of > 0) length = (length + p.multiple_of - 1) / p.multiple_of * p.multiple_of;
  const auto fill = [&](auto& list, std::int64_t n, auto value) {
    list.insert(p.left ? list.begin() : list.end(), static_cast<std::size_t>(n), value);
  };
  for (Encoding& e : all) {
    const std::int64_t n = length - size(e);
    if (n <= 0) continue;
    fill(e.ids, n, p.id);
    fill(e.type_ids, n, p.type_id);
    fill(e.offsets, n, std::pair<std::int64_t, std::int64_t>(0, 0));
    fill(e.added, n, std::uint8_t{1});
    fill(e.mask, n, std::uint8_t{0});
  }
}

namespace {

// The reference writes names of enums as they are in its source.
std::string snake_case(const std::string& name) {
  std::string out;
  for (char c : name) {
    if (c >= 'A' && c <= 'Z' && !out.empty()) out += '_';
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  }
  return out;
}

}  // namespace

std::optional<Truncation> read_truncation(const Json& json, const std::string& origin) {
  if (json.is_null()) return std::nullopt;
  CHECK_USER(json.is_object(), "{}: truncation is not an object", origin);
  const JsonReader reader(json, origin + ": truncation");
  Truncation t;
  t.max_length = reader.integer("max_length", 0, INT32_MAX, t.max_length);
  t.stride = reader.integer("stride", 0, INT32_MAX, 0);
  t.strategy = snake_case(reader.string("strategy", "LongestFirst"));
  t.left = reader.string("direction", "Right") == "Left";
  return t;
}

std::optional<Padding> read_padding(const Json& json, const std::string& origin) {
  if (json.is_null()) return std::nullopt;
  CHECK_USER(json.is_object(), "{}: padding is not an object", origin);
  const JsonReader reader(json, origin + ": padding");
  Padding p;
  if (const Json strategy = json.value("strategy", Json()); strategy.is_object())
    p.length = JsonReader(strategy, origin + ": padding").integer("Fixed", 0, INT32_MAX, 0);
  p.multiple_of = reader.integer("pad_to_multiple_of", 0, INT32_MAX, 0);
  p.left = reader.string("direction", "Right") == "Left";
  p.id = static_cast<std::int32_t>(reader.integer("pad_id", 0, INT32_MAX, 0));
  p.type_id = static_cast<std::int32_t>(reader.integer("pad_type_id", 0, INT32_MAX, 0));
  p.token = reader.string("pad_token", p.token);
  return p;
}

OrderedJson to_json(const std::optional<Truncation>& t) {
  if (!t) return nullptr;
  const char* strategy = t->strategy == "only_first"    ? "OnlyFirst"
                         : t->strategy == "only_second" ? "OnlySecond"
                                                        : "LongestFirst";
  return {{"direction", t->left ? "Left" : "Right"},
          {"max_length", t->max_length},
          {"strategy", strategy},
          {"stride", t->stride}};
}

OrderedJson to_json(const std::optional<Padding>& p) {
  if (!p) return nullptr;
  OrderedJson strategy = "BatchLongest";
  if (p->length > 0) strategy = {{"Fixed", p->length}};
  return {{"strategy", strategy},
          {"direction", p->left ? "Left" : "Right"},
          {"pad_to_multiple_of", p->multiple_of > 0 ? OrderedJson(p->multiple_of) : OrderedJson()},
          {"pad_id", p->id},
          {"pad_type_id", p->type_id},
          {"pad_token", p->token}};
}

}  // namespace weft
