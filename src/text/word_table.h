// Numbers for words (strings of bytes), for the loops that look up every word of a text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// Open addressing over one block of bytes: a look-up touches a slot and the word, nothing else.
class WordTable {
 public:
  static constexpr std::int32_t kAbsent = -1;
  std::int32_t find(std::string_view word) const;
  // The value kept for `word`, `value` where it is new.
  std::int32_t insert(std::string_view word, std::int32_t value);
  std::size_t size() const { return size_; }

 private:
  struct Slot {
    std::uint64_t begin = 0;  // in bytes_
    std::uint32_t size = 0, hash = 0;
    std::int32_t value = kAbsent;
  };
  const Slot& slot(std::string_view word, std::uint64_t hash) const;  // where it is or would be
  void grow();

  std::vector<Slot> slots_ = std::vector<Slot>(16);
  std::string bytes_;
  std::size_t size_ = 0;
};

}  // namespace weft
