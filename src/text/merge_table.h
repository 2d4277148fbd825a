// Byte-pair merges: the ranked table, and applying it to one word.
#pragma once

#include <cstdint>
#include <vector>

namespace weft {

struct Merge {
  std::int32_t left, right, result;
};

// A symbol of a word under merging, and where it ends in the word.
struct Symbol {
  std::int32_t id;
  std::uint32_t bytes;
};

class MergeTable {
 public:
  MergeTable() = default;
  explicit MergeTable(const std::vector<Merge>& merges);  // in rank order

  // Merges until no pair of the table is left; always the pair of lowest rank, the leftmost first.
  void apply(std::vector<Symbol>& word) const;

 private:
  struct Entry {
    std::uint64_t pair = ~0ull;
    std::int32_t rank = 0, result = 0;
  };
  const Entry* find(std::int32_t left, std::int32_t right) const;
  void apply_short(std::vector<Symbol>& word) const;
  void apply_long(std::vector<Symbol>& word) const;

  std::vector<Entry> slots_;  // open addressing, a power of two
};

}  // namespace weft
