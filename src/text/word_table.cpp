#include "text/word_table.h"

#include <cstring>
#include <utility>

namespace weft {
namespace {

// Eight bytes at a time; words are short, so the end matters most: it is read as two overlapping
// halves.
std::uint64_t hash_of(std::string_view word) {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15ull;
  const char* at = word.data();
  std::size_t left = word.size();
  std::uint64_t h = left * kOdd;
  const auto mix = [&](std::uint64_t x) {
    h = (h ^ x) * kOdd;
    h ^= h >> 32;
  };
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t x;
    std::memcpy(&x, at, 8);
    mix(x);
  }
  if (left >= 4) {
    std::uint32_t head, tail;
    std::memcpy(&head, at, 4);
    std::memcpy(&tail, at + left - 4, 4);
    mix(static_cast<std::uint64_t>(head) << 32 | tail);
  } else if (left > 0) {
    const auto byte = [&](std::size_t i) {
      return static_cast<std::uint64_t>(static_cast<std::uint8_t>(at[i]));
    };
    mix(byte(0) << 16 | byte(left / 2) << 8 | byte(left - 1));
  }
  return h * kOdd ^ h >> 29;
}

}  // namespace

const WordTable::Slot& WordTable::slot(std::string_view word, std::uint64_t hash) const {
  const auto short_hash = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    const Slot& s = slots_[at];
    if (s.value == kAbsent) return s;
    if (s.hash == short_hash && s.size == word.size() &&
        std::memcmp(bytes_.data() + s.begin, word.data(), word.size()) == 0)
      return s;
  }
}

std::int32_t WordTable::find(std::string_view word) const {
  return slot(word, hash_of(word)).value;
}

std::int32_t WordTable::insert(std::string_view word, std::int32_t value) {
  const std::uint64_t hash = hash_of(word);
  auto& s = const_cast<Slot&>(slot(word, hash));
  if (s.value != kAbsent) return s.value;
  s = {bytes_.size(), static_cast<std::uint32_t>(word.size()),
       static_cast<std::uint32_t>(hash >> 32), value};
  bytes_ += word;
  if (++size_ * 2 > slots_.size()) grow();
  return value;
}

void WordTable::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& s : old) {
    if (s.value == kAbsent) continue;
    std::size_t at =
        hash_of(std::string_view(bytes_).substr(s.begin, s.size)) & (slots_.size() - 1);
    while (slots_[at].value != kAbsent) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = s;
  }
}

}  // namespace weft
