#include "text/merge_table.h"

#include <array>
#include <bit>
#include <limits>
#include <queue>

#include "core/check.h"
#include "core/rng.h"

namespace weft {
namespace {

constexpr std::size_t kShort = 48;  // symbols; where both ways cost about the same

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(const std::vector<Merge>& merges)
    : slots_(std::bit_ceil(merges.size() * 2 + 2)) {
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::uint64_t key = pair_key(merges[rank].left, merges[rank].right);
    std::size_t at = mix64(key) & (slots_.size() - 1);
    while (slots_[at].pair != ~0ull && slots_[at].pair != key) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {key, static_cast<std::int32_t>(rank), merges[rank].result};
  }
}

const MergeTable::Entry* MergeTable::find(std::int32_t left, std::int32_t right) const {
  if (slots_.empty()) return nullptr;
  const std::uint64_t key = pair_key(left, right);
  for (std::size_t at = mix64(key) & (slots_.size() - 1); slots_[at].pair != ~0ull;
       at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].pair == key) return &slots_[at];
  return nullptr;
}

// Short words: the rank of every neighbouring pair is kept, and looked over each time.
void MergeTable::apply_short(std::vector<Symbol>& word) const {
  constexpr std::int32_t kNone = std::numeric_limits<std::int32_t>::max();
  std::array<std::int32_t, kShort> rank, result;  // of the merge of i and i + 1
  const auto look_up = [&](std::size_t i) {
    const Entry* entry = find(word[i].id, word[i + 1].id);
    rank[i] = entry ? entry->rank : kNone;
    result[i] = entry ? entry->result : 0;
  };
  std::size_t n = word.size();
  for (std::size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i)
      if (rank[i] < rank[best]) best = i;
    if (rank[best] == kNone) break;
    word[best] = {result[best], word[best].bytes + word[best + 1].bytes};
    --n;
    for (std::size_t i = best + 1; i < n; ++i) {
      word[i] = word[i + 1];
      rank[i] = rank[i + 1];
      result[i] = result[i + 1];
    }
    if (best > 0) look_up(best - 1);
    if (best + 1 < n) look_up(best);
  }
  word.resize(n);
}

// Long words (a whole document without spaces): a heap of (rank, place) over a linked list; what is
// stale is dropped when met.
void MergeTable::apply_long(std::vector<Symbol>& word) const {
  constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
  CHECK(word.size() < kNone, "a word of {} bytes; at most 4 GiB can be merged", word.size());
  const auto n = static_cast<std::uint32_t>(word.size());
  std::vector<std::uint32_t> previous(n), next(n);
  for (std::uint32_t i = 0; i < n; ++i) {
    previous[i] = i == 0 ? kNone : i - 1;
    next[i] = i + 1 == n ? kNone : i + 1;
  }
  const auto merge_at = [&](std::uint32_t i) {
    return i == kNone || next[i] == kNone ? nullptr : find(word[i].id, word[next[i]].id);
  };
  const auto candidate = [](const Entry& e, std::uint32_t i) {
    return static_cast<std::uint64_t>(e.rank) << 32 | i;
  };
  std::vector<std::uint64_t> first;
  for (std::uint32_t i = 0; i < n; ++i)
    if (const Entry* e = merge_at(i)) first.push_back(candidate(*e, i));
  std::priority_queue<std::uint64_t, std::vector<std::uint64_t>, std::greater<>> queue(
      std::greater<>(), std::move(first));
  while (!queue.empty()) {
    const std::uint64_t top = queue.top();
    queue.pop();
    const auto i = static_cast<std::uint32_t>(top);
    const Entry* e = word[i].id < 0 ? nullptr : merge_at(i);
    if (!e || static_cast<std::uint64_t>(e->rank) != top >> 32) continue;
    const std::uint32_t gone = next[i];
    word[i] = {e->result, word[i].bytes + word[gone].bytes};
    word[gone].id = -1;
    next[i] = next[gone];
    if (next[i] != kNone) previous[next[i]] = i;
    for (const std::uint32_t at : {previous[i], i})
      if (const Entry* made = merge_at(at)) queue.push(candidate(*made, at));
  }
  std::size_t kept = 0;
  for (std::uint32_t i = 0; i != kNone; i = next[i]) word[kept++] = word[i];
  word.resize(kept);
}

void MergeTable::apply(std::vector<Symbol>& word) const {
  if (word.size() <= kShort)
    apply_short(word);
  else
    apply_long(word);
}

}  // namespace weft
