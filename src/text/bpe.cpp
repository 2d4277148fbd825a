#include "text/bpe.h"

#include <bit>
#include <limits>
#include <queue>
#include <tuple>

#include "core/rng.h"

namespace weft {
namespace {

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(const std::vector<Merge>& merges) : slots_(std::bit_ceil(merges.size() * 2 + 2)) {
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
  for (std::size_t at = mix64(key) & (slots_.size() - 1); slots_[at].pair != ~0ull; at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].pair == key) return &slots_[at];
  return nullptr;
}

// Short words: look at every pair each time.
void MergeTable::apply_short(std::vector<Symbol>& word) const {
  while (word.size() > 1) {
    const Entry* best = nullptr;
    std::size_t where = 0;
    for (std::size_t i = 0; i + 1 < word.size(); ++i) {
      const Entry* entry = find(word[i].id, word[i + 1].id);
      if (entry && (!best || entry->rank < best->rank)) {
        best = entry;
        where = i;
      }
    }
    if (!best) return;
    word[where] = {best->result, word[where].bytes + word[where + 1].bytes};
    word.erase(word.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
}

// Long words (a whole document without spaces): a heap of candidate pairs over a linked list; stale candidates are dropped when met.
void MergeTable::apply_long(std::vector<Symbol>& word) const {
  const std::size_t n = word.size(), none = std::numeric_limits<std::size_t>::max();
  std::vector<std::size_t> previous(n), next(n);
  for (std::size_t i = 0; i < n; ++i) {
    previous[i] = i == 0 ? none : i - 1;
    next[i] = i + 1 == n ? none : i + 1;
  }
  using Candidate = std::tuple<std::int32_t, std::size_t, std::int32_t, std::int32_t>;  // rank, place, left id, right id
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto offer = [&](std::size_t i) {
    if (i == none || next[i] == none) return;
    if (const Entry* e = find(word[i].id, word[next[i]].id)) queue.emplace(e->rank, i, word[i].id, word[next[i]].id);
  };
  for (std::size_t i = 0; i < n; ++i) offer(i);
  while (!queue.empty()) {
    const auto [rank, i, left, right] = queue.top();
    queue.pop();
    if (word[i].id != left || next[i] == none || word[next[i]].id != right) continue;
    const std::size_t gone = next[i];
    word[i] = {find(left, right)->result, word[i].bytes + word[gone].bytes};
    word[gone].id = -1;
    next[i] = next[gone];
    if (next[i] != none) previous[next[i]] = i;
    offer(previous[i]);
    offer(i);
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i != none; i = next[i]) word[kept++] = word[i];
  word.resize(kept);
}

void MergeTable::apply(std::vector<Symbol>& word) const {
  if (word.size() <= 48) apply_short(word);
  else apply_long(word);
}

}  // namespace weft
