#include "data/sample.h"

#include <utility>

namespace weft {

SampleSource next_tokens(std::int64_t T,
                         std::function<void(std::int64_t, std::int32_t*, std::int32_t*)> fill) {
  return [T, fill = std::move(fill)](std::int64_t place, Sample& sample) {
    sample.n_labels = T;
    if (sample.ids || sample.labels) fill(place, sample.ids, sample.labels);
  };
}

}  // namespace weft
