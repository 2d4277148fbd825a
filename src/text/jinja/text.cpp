#include "text/jinja/text.h"

#include <string.h>  // memmem
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/characters/unicode.h"

namespace weft::jinja {
namespace {

bool is_space(const Character& c) {
  return class_of(c.code) == CharClass::space || (c.code >= 0x1C && c.code <= 0x1F);
}

enum class Case { upper, lower, title };

void append_as(std::string& out, std::string_view s, std::size_t at, const Character& c, Case how) {
  if (c.code < 0) {
    out.append(s, at, c.bytes);
  } else if (c.code == 0xDF && how != Case::lower) {
    out += how == Case::upper ? "SS" : "Ss";  // the one common letter whose capital is two letters
  } else {
    const auto changed = how == Case::upper   ? utf8proc_toupper(c.code)
                         : how == Case::lower ? utf8proc_tolower(c.code)
                                              : utf8proc_totitle(c.code);
    append_utf8(out, static_cast<std::uint32_t>(changed));
  }
}

std::string mapped(std::string_view s, Case how) {
  std::string out;
  for (std::size_t at = 0; at < s.size();) {
    const Character c = character_at(s, at);
    append_as(out, s, at, c, how);
    at += c.bytes;
  }
  return out;
}

bool is_cased(std::int32_t code) {
  return code >= 0 && (utf8proc_toupper(code) != code || utf8proc_tolower(code) != code);
}

bool among(std::string_view chars, std::string_view character) {
  for (std::size_t at = 0; at < chars.size();) {
    const std::size_t n = character_at(chars, at).bytes;
    if (chars.substr(at, n) == character) return true;
    at += n;
  }
  return false;
}

std::size_t last_character(std::string_view s) {  // where it begins; s is not empty
  std::size_t at = s.size() - 1;
  for (int i = 0; i < 3 && at > 0 && (static_cast<unsigned char>(s[at]) & 0xC0) == 0x80; ++i) --at;
  return character_at(s, at).bytes == s.size() - at ? at : s.size() - 1;
}

// Without the characters at its ends of which goes(where, bytes) holds.
template <class Goes>
std::string_view without_ends(std::string_view s, bool left, bool right, const Goes& goes) {
  while (left && !s.empty() && goes(s.substr(0, character_at(s, 0).bytes)))
    s.remove_prefix(character_at(s, 0).bytes);
  while (right && !s.empty() && goes(s.substr(last_character(s))))
    s = s.substr(0, last_character(s));
  return s;
}

std::string_view trimmed(std::string_view s, bool left = true, bool right = true) {
  return without_ends(s, left, right, [](std::string_view character) {
    return is_space(character_at(character, 0));
  });
}

// Digits with single underscores between them: without these; nothing where they stand elsewhere.
std::optional<std::string> without_underscores(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '_') {
      out += s[i];
    } else if (i == 0 || i + 1 == s.size() || !std::isalnum(static_cast<unsigned char>(s[i - 1])) ||
               !std::isalnum(static_cast<unsigned char>(s[i + 1]))) {
      return std::nullopt;
    }
  }
  return out;
}

std::optional<std::int64_t> bound_of(const Value& v) {
  if (v.is_none()) return std::nullopt;
  if (!v.is_integral()) fault("slice indices must be integers or None, not {}", type_name(v));
  return v.integer;
}

}  // namespace

std::size_t find_text(std::string_view text, std::string_view part, std::size_t from) {
  if (from > text.size()) return std::string::npos;
  if (part.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found == nullptr ? std::string::npos
                          : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

std::size_t characters(std::string_view s) {
  std::size_t n = 0;
  for (std::size_t at = 0; at < s.size(); at += character_at(s, at).bytes) ++n;
  return n;
}

std::string upper(std::string_view s) { return mapped(s, Case::upper); }
std::string lower(std::string_view s) { return mapped(s, Case::lower); }

std::string capitalized(std::string_view s) {
  if (s.empty()) return "";
  const Character c = character_at(s, 0);
  std::string out;
  append_as(out, s, 0, c, Case::title);
  return out + lower(s.substr(c.bytes));
}

std::string titled(std::string_view s) {
  std::string out;
  bool inside = false;
  for (std::size_t at = 0; at < s.size();) {
    const Character c = character_at(s, at);
    append_as(out, s, at, c, inside ? Case::lower : Case::title);
    inside = is_cased(c.code);
    at += c.bytes;
  }
  return out;
}

std::string titled_words(std::string_view s) {
  std::string out;
  bool inside = false;
  for (std::size_t at = 0; at < s.size();) {
    const Character c = character_at(s, at);
    const bool separates =
        is_space(c) ||
        (c.code > 0 && c.code < 128 &&
         std::string_view("-({[<").find(static_cast<char>(c.code)) != std::string_view::npos);
    append_as(out, s, at, c, inside ? Case::lower : Case::upper);
    inside = !separates;
    at += c.bytes;
  }
  return out;
}

std::string stripped(std::string_view s, const std::optional<std::string>& chars, bool left,
                     bool right) {
  if (!chars) return std::string(trimmed(s, left, right));
  return std::string(without_ends(
      s, left, right, [&](std::string_view character) { return among(*chars, character); }));
}

std::string replaced(std::string_view s, std::string_view from, std::string_view to,
                     std::int64_t count, Budget& budget) {
  std::string out;
  std::size_t at = 0;
  for (std::int64_t done = 0; count < 0 || done < count; ++done) {
    budget.steps();
    budget.bytes(to.size());
    if (from.empty()) {  // between all characters
      out += to;
      if (at >= s.size()) return out;
      const std::size_t n = character_at(s, at).bytes;
      out.append(s, at, n);
      at += n;
      continue;
    }
    const std::size_t found = find_text(s, from, at);
    if (found == std::string::npos) break;
    out.append(s, at, found - at);
    out += to;
    at = found + from.size();
  }
  return out.append(s, at);
}

std::vector<std::string> split(std::string_view s, const std::optional<std::string>& separator,
                               std::int64_t at_most, bool from_right) {
  std::vector<std::string> parts;
  const auto more = [&] {
    return at_most < 0 || static_cast<std::int64_t>(parts.size()) < at_most;
  };
  if (separator && separator->empty()) fault("empty separator");
  if (separator && !from_right) {
    std::size_t at = 0;
    for (std::size_t found; more() && (found = find_text(s, *separator, at)) != std::string::npos;
         at = found + separator->size()) {
      parts.emplace_back(s.substr(at, found - at));
    }
    parts.emplace_back(s.substr(at));
  } else if (separator) {
    for (std::size_t found; more() && (found = s.rfind(*separator)) != std::string::npos;
         s = s.substr(0, found)) {
      parts.emplace_back(s.substr(found + separator->size()));
    }
    parts.emplace_back(s);
  } else if (!from_right) {
    for (s = std::string_view(s).substr(s.size() - stripped(s, {}, true, false).size());
         !s.empty();) {
      if (!more()) {
        parts.emplace_back(s);
        break;
      }
      std::size_t end = 0;
      while (end < s.size() && !is_space(character_at(s, end))) end += character_at(s, end).bytes;
      parts.emplace_back(s.substr(0, end));
      while (end < s.size() && is_space(character_at(s, end))) end += character_at(s, end).bytes;
      s = s.substr(end);
    }
  } else {
    for (s = s.substr(0, stripped(s, {}, false, true).size()); !s.empty();) {
      if (!more()) {
        parts.emplace_back(s);
        break;
      }
      std::size_t begin = s.size();
      while (begin > 0 && !is_space(character_at(s, last_character(s.substr(0, begin)))))
        begin = last_character(s.substr(0, begin));
      parts.emplace_back(s.substr(begin));
      while (begin > 0 && is_space(character_at(s, last_character(s.substr(0, begin)))))
        begin = last_character(s.substr(0, begin));
      s = s.substr(0, begin);
    }
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> lines_of(std::string_view s, bool keep_ends) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < s.size();) {
    const Character c = character_at(s, at);
    std::size_t end = at + c.bytes;
    const bool ends = (c.code >= 10 && c.code <= 13) || (c.code >= 0x1C && c.code <= 0x1E) ||
                      c.code == 0x85 || c.code == 0x2028 || c.code == 0x2029;
    if (c.code == '\r' && end < s.size() && s[end] == '\n') ++end;
    if (ends) {
      lines.emplace_back(s.substr(begin, (keep_ends ? end : at) - begin));
      begin = end;
    }
    at = end;
  }
  if (begin < s.size()) lines.emplace_back(s.substr(begin));
  return lines;
}

std::optional<std::int64_t> parse_integer(std::string_view s, int base) {
  if (base != 0 && (base < 2 || base > 36)) fault("int() base must be >= 2 and <= 36, or 0");
  s = trimmed(s);
  const bool negative = !s.empty() && s[0] == '-';
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) s.remove_prefix(1);
  if (s.size() > 2 && s[0] == '0') {
    const int letter = std::tolower(static_cast<unsigned char>(s[1]));
    const int prefixed = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (prefixed != 0 && (base == 0 || base == prefixed)) {
      s.remove_prefix(s[2] == '_' ? 3 : 2);
      base = prefixed;
    }
  }
  const bool by_form = base == 0;
  const auto digits = without_underscores(s);
  if (!digits || digits->empty() ||
      (by_form && digits->size() > 1 && (*digits)[0] == '0' &&
       digits->find_first_not_of('0') != std::string::npos))
    return std::nullopt;
  if ((*digits)[0] == '-' || (*digits)[0] == '+') return std::nullopt;
  std::int64_t value = 0;
  const std::string text = (negative ? "-" : "") + *digits;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, by_form ? 10 : base);
  if (error == std::errc::result_out_of_range)
    fault("the number {} is too large", text.substr(0, 40));
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_real(std::string_view s) {
  auto digits = without_underscores(trimmed(s));
  if (!digits || digits->empty()) return std::nullopt;
  if ((*digits)[0] == '+') {
    digits->erase(0, 1);
    if (digits->empty() || (*digits)[0] == '-') return std::nullopt;
  }
  if (digits->find('(') != std::string::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(digits->data(), digits->data() + digits->size(), value);
  if (end != digits->data() + digits->size()) return std::nullopt;
  if (error == std::errc::result_out_of_range)
    return std::strtod(digits->c_str(), nullptr);  // infinite or 0
  if (error != std::errc()) return std::nullopt;
  return value;
}

std::vector<std::size_t> slice_of(std::size_t n, const Value& start, const Value& stop,
                                  const Value& step) {
  const std::int64_t by = bound_of(step).value_or(1), size = static_cast<std::int64_t>(n);
  if (by == 0) fault("slice step cannot be zero");
  const std::int64_t lowest = by > 0 ? 0 : -1, highest = by > 0 ? size : size - 1;
  const auto place = [&](const std::optional<std::int64_t>& bound, std::int64_t otherwise) {
    if (!bound) return otherwise;
    return std::clamp(*bound < 0 ? *bound + size : *bound, lowest, highest);
  };
  const std::int64_t from = place(bound_of(start), by > 0 ? 0 : size - 1),
                     to = place(bound_of(stop), by > 0 ? size : -1);
  std::vector<std::size_t> taken;
  for (std::int64_t i = from; by > 0 ? i < to : i > to;) {
    taken.push_back(static_cast<std::size_t>(i));
    if (by > 0 ? by >= to - i : by <= to - i) break;
    i += by;
  }
  return taken;
}

std::string sliced(const std::string& s, const Value& start, const Value& stop, const Value& step,
                   Budget& budget) {
  budget.bytes(s.size());
  std::vector<std::size_t> begins;
  for (std::size_t at = 0; at < s.size(); at += character_at(s, at).bytes) begins.push_back(at);
  std::string out;
  for (const std::size_t i : slice_of(begins.size(), start, stop, step)) {
    out.append(s, begins[i], (i + 1 < begins.size() ? begins[i + 1] : s.size()) - begins[i]);
  }
  return out;
}

}  // namespace weft::jinja
