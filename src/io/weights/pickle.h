// Python's pickles as plain data: the opcodes of protocols 0 to 5 that build numbers, texts, lists,
// tuples and dicts are carried out, and whatever would run code (a class, a function) stays a name
// that must be on the caller's list.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

using PickleRef = std::uint32_t;  // of a value in its Pickle

enum class PickleKind : std::uint8_t {
  none,
  boolean,     // integer 0 or 1
  integer,     // beyond 64 bits: number alone
  number,      //
  text,        // bytes are texts too
  list,        // also tuples and sets: items
  dict,        // items: key, value, key, value, …
  global,      // text: "torch.FloatStorage"
  call,        // text: what is called; of: the list of its arguments; items as a dict's or a list's
  persistent,  // of: what the pickle knows it by
};

struct PickleValue {
  PickleKind kind = PickleKind::none;
  std::int64_t integer = 0;
  double number = 0;
  std::string text;
  PickleRef of = 0;
  std::vector<PickleRef> items;
};

class Pickle {
 public:
  // UserErrors begin with `origin`: not a pickle, cut short, a name that `allowed` refuses.
  Pickle(std::string origin, std::span<const std::byte> bytes,
         const std::function<bool(std::string_view name)>& allowed);
  const PickleValue& root() const { return values_[root_]; }
  const PickleValue& operator[](PickleRef ref) const { return values_[ref]; }

 private:
  friend class PickleMachine;
  std::vector<PickleValue> values_;
  PickleRef root_ = 0;
};

}  // namespace weft
