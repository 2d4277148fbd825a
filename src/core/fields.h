// Options are described once: a struct of options visits its fields, and visitors make flags,
// --help, TOML, JSON and checks of them.
//   void visit(FieldVisitor& v) {
//     v.group("model");
//     v.field("layers", layers, Integers{1, 10'000}, "number of blocks");
//     v.field("dtype", dtype, Words{"fp32", "bf16"}, "how weights are held");
//   }
// The name is the flag with underscores (batch_size: --batch-size). A number cannot be described
// without what it may be, and whatever reads a value checks it then and there: no command sees
// another, so that none forgets to look before it narrows one.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace weft {

// What a whole number may be: min to max, both included; and what its least value stands for, where
// that is not itself (0: all).
struct Integers {
  std::int64_t min = std::numeric_limits<std::int64_t>::min(),
               max = std::numeric_limits<std::int64_t>::max();
  const char* min_means = nullptr;
};
constexpr Integers kAnyInteger{};

// What a number may be: min to max; an end that is open is not allowed itself. Never NaN or
// infinite.
struct Reals {
  double min, max;
  bool min_open = false, max_open = false;
};

// A word that an option takes and what it stands for; tables of them name an enum's values once.
template <class E>
struct Word {
  const char* text;
  E value;
};

// The words that an option takes. `later` ones are reserved: an error says that they are to come.
// The empty text is "not given", where that is the field's default.
struct Words {
  std::vector<std::string> known, later;

  Words(std::initializer_list<const char*> words, std::initializer_list<const char*> reserved = {})
      : known(words.begin(), words.end()), later(reserved.begin(), reserved.end()) {}
  Words(std::vector<std::string> words) : known(std::move(words)) {}
  template <class E, std::size_t n>
  Words(const Word<E> (&table)[n], std::initializer_list<const char*> reserved = {})
      : later(reserved.begin(), reserved.end()) {
    for (const Word<E>& word : table) known.emplace_back(word.text);
  }
};

// Texts that may be anything (paths, names), yes or no.
struct Anything {};

// A flag that may say how: --truncation is --truncation=right where right is the first allowed
// word; also true (the first word) and false (empty).
struct FlagWord {
  std::string value;
  std::vector<std::string> allowed;
};

class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;
  virtual void group(const char* name) = 0;
  virtual void field(const char* name, std::string& value, const char* help) = 0;
  virtual void field(const char* name, std::string& value, const Words& allowed,
                     const char* help) = 0;
  virtual void field(const char* name, std::int64_t& value, Integers allowed, const char* help) = 0;
  virtual void field(const char* name, double& value, Reals allowed, const char* help) = 0;
  virtual void field(const char* name, bool& value, const char* help) = 0;
  virtual void field(const char* name, FlagWord& value, const char* help) = 0;
  virtual void field(const char* name, std::vector<std::string>& value, const char* help) = 0;
  // Unset unless given.
  virtual void field(const char* name, std::optional<std::int64_t>& value, Integers allowed,
                     const char* help) = 0;
  virtual void field(const char* name, std::optional<double>& value, Reals allowed,
                     const char* help) = 0;
  virtual void field(const char* name, std::optional<bool>& value, const char* help) = 0;
};

using VisitFields = std::function<void(FieldVisitor&)>;

std::string flag_of(std::string name);  // batch_size: --batch-size

// UserErrors "WHAT is VALUE; allowed: …". `what` names the flag, or the file and the key.
void check_allowed(const std::string& what, std::int64_t value, const Integers& allowed);
void check_allowed(const std::string& what, double value, const Reals& allowed);
void check_allowed(const std::string& what, const std::string& value, const Words& allowed);
template <class T>
void check_allowed(const std::string&, const T&, const Anything&) {}
template <class T, class A>
requires(!std::is_same_v<A, Anything>) void check_allowed(const std::string& what,
                                                          const std::optional<T>& value,
                                                          const A& allowed) {
  if (value) check_allowed(what, *value, allowed);
}

// The same of every field that has a value, for options that were set by a program; texts that are
// empty are not given.
void check_fields(const VisitFields& fields);

// The value of one of the table's words; a UserError names `what` (a flag) and the words.
template <class E, std::size_t n>
E value_of(const Word<E> (&table)[n], const std::string& what, const std::string& word) {
  for (const Word<E>& w : table)
    if (word == w.text) return w.value;
  check_allowed(what, word, Words(table));
  return table[0].value;  // not reached: the word is none of the table's
}

// A visitor that treats every type alike: Derived has
//   template <class T, class A> void each(const char* name, T& value, const A& allowed,
//                                         const char* help)
template <class Derived>
class UniformVisitor : public FieldVisitor {
 public:
  void group(const char* name) override { group_ = name; }
  void field(const char* n, std::string& v, const char* h) override { give(n, v, Anything{}, h); }
  void field(const char* n, std::string& v, const Words& a, const char* h) override {
    give(n, v, a, h);
  }
  void field(const char* n, std::int64_t& v, Integers a, const char* h) override {
    give(n, v, a, h);
  }
  void field(const char* n, double& v, Reals a, const char* h) override { give(n, v, a, h); }
  void field(const char* n, bool& v, const char* h) override { give(n, v, Anything{}, h); }
  void field(const char* n, FlagWord& v, const char* h) override { give(n, v, Anything{}, h); }
  void field(const char* n, std::vector<std::string>& v, const char* h) override {
    give(n, v, Anything{}, h);
  }
  void field(const char* n, std::optional<std::int64_t>& v, Integers a, const char* h) override {
    give(n, v, a, h);
  }
  void field(const char* n, std::optional<double>& v, Reals a, const char* h) override {
    give(n, v, a, h);
  }
  void field(const char* n, std::optional<bool>& v, const char* h) override {
    give(n, v, Anything{}, h);
  }

 protected:
  std::string group_ = "options";

 private:
  template <class T, class A>
  void give(const char* name, T& value, const A& allowed, const char* help) {
    static_cast<Derived*>(this)->each(name, value, allowed, help);
  }
};

}  // namespace weft
