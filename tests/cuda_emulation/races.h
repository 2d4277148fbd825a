// A race detector, as compute-sanitizer's racecheck but for shared and device memory: two threads
// touch the same two bytes, one of them writes, and no barrier lies between. It hears of accesses
// only where .cu sources are compiled with -fsanitize=thread (WEFT_EMULATION_CHECK=races), whose
// calls races.cpp answers itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "accesses.h"

namespace weft::emulation {

enum class Access : std::uint8_t { read, write };

// The executor tells what orders accesses: a new launch; a block barrier; a __syncwarp of all lanes
// (other collectives order nothing).
void race_new_launch();
void race_new_block();
void race_block_barrier();
void race_warp_barrier(int warp);

// By thread `thread` of the running block.
void race_access(const void* p, std::size_t bytes, Access access, int thread);
// An atomic access to device memory, which races with no other thread of the launch.
void heard_atomic(const void* p, std::size_t bytes);
// The bytes of device memory that the last launch touched, and forgets them.
std::vector<Range> take_touched();

}  // namespace weft::emulation
