#include <fmt/ranges.h>

#include "core/json.h"
#include "core/utf8.h"
#include "machine/machine_fields.h"

namespace weft {
namespace {

// JSON's escapes are TOML's.
std::string quoted(const std::string& text) { return json_text(Json(made_utf8(text))); }

// Writes what is not as it is without the key.
class WriteTable {
 public:
  void text(const char* key, const std::string& v) { put(key, quoted(v), v.empty()); }
  void integer(const char* key, std::int64_t v, Integers) { put(key, std::to_string(v), false); }
  void integers(const char* key, const std::vector<std::int64_t>& v, Integers) {
    put(key, fmt::format("[{}]", fmt::join(v, ", ")), v.empty());
  }
  void real(const char* key, double v) {
    std::string digits = fmt::format("{}", v);
    if (digits.find_first_of(".e") == std::string::npos) digits += ".0";
    put(key, digits, false);
  }
  void flag(const char* key, bool v) { put(key, v ? "true" : "false", false); }
  void words(const char* key, const std::vector<std::string>& v, const std::vector<std::string>&) {
    std::vector<std::string> all;
    for (const std::string& word : v) all.push_back(quoted(word));
    put(key, fmt::format("[{}]", fmt::join(all, ", ")), v.empty());
  }
  template <class E, std::size_t n>
  void word(const char* key, E v, const Word<E> (&table)[n]) {
    for (const Word<E>& w : table)
      if (w.value == v) put(key, quoted(w.text), false);
  }
  template <class Part>
  void group(const char* key, Part& part) {
    out += fmt::format("\n[{}]\n", key);
    visit(*this, part);
  }
  template <class Part>
  void groups(const char* key, std::vector<Part>& parts) {
    for (Part& part : parts) {
      out += fmt::format("\n[[{}]]\n", key);
      visit(*this, part);
    }
  }
  std::string out;

 private:
  void put(const char* key, const std::string& value, bool unset) {
    if (!unset) out += fmt::format("{} = {}\n", key, value);
  }
};

}  // namespace

std::string machine_toml(const Machine& machine) {
  Machine copy = machine;
  WriteTable writer;
  visit(writer, copy);
  return writer.out;
}

}  // namespace weft
