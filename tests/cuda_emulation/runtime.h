// What the emulated back ends give the emulated streams, and what the tests of the emulation ask of
// them.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "accesses.h"

namespace weft::emulation {

// A piece of a stream's work.
struct Item {
  const char* name = nullptr;     // of the op …
  const void* kernel = nullptr;   // … or the kernel
  std::vector<Range> touches;     // as far as it is known before the work runs
  std::function<void()> work;     // runs once, or at each launch of a graph
  std::function<bool()> poll;     // in its place: asked until it has come to its end
  const char* refused = nullptr;  // why it cannot be captured
};
void enqueue(cudaStream_t stream, Item item);

// When work runs that nobody waits for yet: as the seed draws it (WEFT_EMULATION_SEED, or 1), as
// late as CUDA allows, or at once.
enum class Schedule : std::uint8_t { drawn, late, eager };
void set_schedule(Schedule schedule);
void set_schedule_seed(std::uint64_t seed);

void count_streams_from_one();
void forget_fault();  // after a planted one: the next calls start afresh
std::uint64_t kernels_launched();

}  // namespace weft::emulation
