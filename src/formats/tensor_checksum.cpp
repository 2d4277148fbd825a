#include "formats/tensor_checksum.h"

#include <atomic>
#include <bit>

#include "core/checksum.h"
#include "core/parallel.h"

namespace weft {

std::uint64_t elements_checksum(const float* data, const std::vector<Run>& runs, int n_threads) {
  std::atomic<std::uint64_t> sum = 0;
  for (const Run& run : runs) {
    parallel_blocks(run.size, 1 << 16, n_threads, [&](std::int64_t begin, std::int64_t end) {
      std::uint64_t part = 0;
      for (std::int64_t i = begin; i < end; ++i)
        part += element_checksum(static_cast<std::uint64_t>(run.global_begin + i),
                                 std::bit_cast<std::uint32_t>(data[run.local_begin + i]));
      sum += part;
    });
  }
  return sum;
}

}  // namespace weft
