// Who owns which slice. Every uneven split of the program is this one rule: the first (n mod parts)
// parts get one more.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace weft {

struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
  friend bool operator==(const Range&, const Range&) = default;
};

// Part `index` of [0, n) cut into `parts`.
Range split_range(std::int64_t n, int parts, int index);

// Heads of a rank. Query heads are split as evenly as possible in whole KV groups where Hkv >= tp;
// where tp exceeds Hkv, KV heads are replicated: a rank holds the KV heads its query heads read.
struct HeadShard {
  Range q;   // query heads
  Range kv;  // KV heads (may overlap other ranks')
};
HeadShard split_heads(std::int64_t n_heads, std::int64_t n_kv_heads, int tp, int index);

// A rank's slice of a tensor: whole along every dim but `dim`, and there the union of `ranges` in
// order.
struct Slice {
  Dims global;                // dims of the whole tensor
  int dim = -1;               // -1: replicated, ranges are empty
  std::vector<Range> ranges;  // disjoint, ascending
  Dims local() const;         // dims of the slice
  bool whole() const { return dim < 0; }
};

// The slice as contiguous runs: global element offset, local element offset, length. Ascending in
// the local offset.
struct Run {
  std::int64_t global_begin, local_begin, size;
};
std::vector<Run> runs(const Slice& slice);

// What of the runs lies in [begin, begin + size) of local memory, with local offsets from there.
std::vector<Run> clip(const std::vector<Run>& runs, std::int64_t begin, std::int64_t size);

// The runs of `part`, with local offsets in the memory of `held`, which contains it.
std::vector<Run> runs_within(const Slice& part, const Slice& held);

}  // namespace weft
