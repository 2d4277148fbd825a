#include "comm/shard.h"

#include <algorithm>

#include "core/check.h"

namespace weft {

Range split_range(std::int64_t n, int parts, int index) {
  CHECK(n >= 0 && parts >= 1 && 0 <= index && index < parts, "part {} of {} of {}", index, parts,
        n);
  const std::int64_t each = n / parts, extra = n % parts;
  const std::int64_t begin = index * each + std::min<std::int64_t>(index, extra);
  return {begin, begin + each + (index < extra ? 1 : 0)};
}

HeadShard split_heads(std::int64_t n_heads, std::int64_t n_kv_heads, int tp, int index) {
  CHECK(n_kv_heads >= 1 && n_heads % n_kv_heads == 0, "{} heads in {} KV groups", n_heads,
        n_kv_heads);
  CHECK(tp <= n_heads, "{} heads on {} ranks", n_heads, tp);
  const std::int64_t group = n_heads / n_kv_heads;
  if (tp <= n_kv_heads) {
    const Range kv = split_range(n_kv_heads, tp, index);
    return {{kv.begin * group, kv.end * group}, kv};
  }
  // More ranks than KV heads: each KV head is held by a run of consecutive ranks, which divide its
  // query heads.
  for (int kv_head = 0; kv_head < n_kv_heads; ++kv_head) {
    const Range ranks = split_range(tp, static_cast<int>(n_kv_heads), kv_head);
    if (index < ranks.begin || index >= ranks.end) continue;
    const Range q =
        split_range(group, static_cast<int>(ranks.size()), static_cast<int>(index - ranks.begin));
    return {{kv_head * group + q.begin, kv_head * group + q.end}, {kv_head, kv_head + 1}};
  }
  CHECK(false, "rank {} of {} has no KV head", index, tp);
}

Dims Slice::local() const {
  if (whole()) return global;
  Dims dims = global;
  dims[dim] = 0;
  for (const Range& range : ranges) dims[dim] += range.size();
  return dims;
}

std::vector<Run> runs(const Slice& slice) {
  const std::int64_t elems = slice.global.elems();
  if (slice.whole()) return {{0, 0, elems}};
  std::int64_t outer = 1, inner = 1;
  for (int i = 0; i < slice.global.rank(); ++i)
    (i < slice.dim ? outer : inner) *= i == slice.dim ? 1 : slice.global[i];
  const std::int64_t n = slice.global[slice.dim];
  std::vector<Run> list;
  std::int64_t local = 0;
  for (std::int64_t o = 0; o < outer; ++o)
    for (const Range& range : slice.ranges) {
      const std::int64_t size = range.size() * inner, begin = (o * n + range.begin) * inner;
      if (size == 0) continue;
      if (!list.empty() && list.back().global_begin + list.back().size == begin)
        list.back().size += size;
      else
        list.push_back({begin, local, size});
      local += size;
    }
  return list;
}

std::vector<Run> clip(const std::vector<Run>& runs, std::int64_t begin, std::int64_t size) {
  std::vector<Run> list;
  for (const Run& r : runs) {
    const std::int64_t from = std::max(r.local_begin, begin),
                       to = std::min(r.local_begin + r.size, begin + size);
    if (from < to) list.push_back({r.global_begin + from - r.local_begin, from - begin, to - from});
  }
  return list;
}

std::vector<Run> runs_within(const Slice& part, const Slice& held) {
  const std::vector<Run> outer = runs(held);
  std::vector<Run> list;
  auto at = outer.begin();
  for (Run run : runs(part)) {
    while (at != outer.end() && at->global_begin + at->size <= run.global_begin) ++at;
    // A part may span runs of `held` that touch in the whole tensor but not in memory, and the
    // other way round.
    while (run.size > 0) {
      CHECK(at != outer.end() && at->global_begin <= run.global_begin, "element {} is not held",
            run.global_begin);
      const std::int64_t skip = run.global_begin - at->global_begin,
                         size = std::min(run.size, at->size - skip);
      list.push_back({run.global_begin, at->local_begin + skip, size});
      run.global_begin += size;
      run.size -= size;
      if (run.size > 0) ++at;
    }
  }
  return list;
}

}  // namespace weft
