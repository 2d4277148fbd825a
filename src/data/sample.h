// What a dataset gives and a training step takes: one sequence with its labels.
#pragma once

#include <cstdint>
#include <functional>

namespace weft {

// A sample to fill. Pointers are null where this rank has no use for them. Padding, past `length`,
// has id 0 and no label.
struct Sample {
  std::int32_t* ids = nullptr;     // (T)
  std::int32_t* types = nullptr;   // (T) zeros before
  std::int32_t* labels = nullptr;  // (T), kIgnoreLabel where there is none; of a text: (1)
  float* targets = nullptr;        // (n_labels) of a text: several labels or regression
  std::int32_t length = 0;         // out: its tokens; T before
  std::int32_t label_end = 0;      // out: of a text, behind the token that is labelled; 0: the last
  std::int64_t n_labels = 0;       // out: labels that count for the mean
};
using SampleSource = std::function<void(std::int64_t place, Sample& sample)>;
// Samples of T tokens, each of which has a label: fill(place, ids (T), labels (T)), either null
// where it is not wanted.
SampleSource next_tokens(
    std::int64_t T,
    std::function<void(std::int64_t place, std::int32_t* ids, std::int32_t* labels)> fill);

}  // namespace weft
