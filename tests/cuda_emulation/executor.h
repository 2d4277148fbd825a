// A SIMT executor on the host: every GPU thread is a fiber. Threads of a block run in a shuffled
// order, each until it must wait: at a block barrier, or at a warp collective (shuffle, ldmatrix,
// mma …) until every lane that the mask names has come. What a GPU would do silently is a Fault
// here: a lane outside its own mask, lanes at different collectives or barriers, a deadlock, a
// kernel on no stream.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>

namespace weft::emulation {

struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void fault(const std::string& what);  // adds the kernel's block and thread
void fault_at_next_wait(const std::string& what);  // where nothing may be thrown

// The thread that is running.
struct Place {
  uint3 thread, block;
  dim3 block_dim, grid_dim;
  int lane = 0;
};
const Place& place();
int running_thread();  // its index in the block, or -1 outside kernels
void* block_shared_memory();
std::size_t block_shared_bytes();

enum class Collective : std::uint8_t {
  sync_warp,
  ballot,
  shuffle_index,
  shuffle_up,
  shuffle_down,
  shuffle_xor,
  load_matrix,
  load_matrix_transposed,
  mma_bf16,
  mma_tf32
};

// Waits until all lanes of `mask` have come with the same kind and mask. The last one calls
// complete(operands, mask), where operands[l] is what lane l brought (null for lanes outside the
// mask), and all go on.
using Complete = void (*)(void* const (&operands)[32], unsigned mask);
// `site` tells apart the places of a kernel where an .aligned instruction stands (null: any place).
void warp_collective(Collective kind, unsigned mask, void* operand, Complete complete,
                     const void* site = nullptr);

// Waits for all threads of the block that have not ended; returns the number of those whose
// predicate is not 0. Lanes of a warp must come to the same one, at `site`.
int block_barrier(int predicate, const void* site);

// Runs all blocks, one after another in a shuffled order. Throws a Fault.
void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& kernel);

// The seed of the orders in which blocks, warps and lanes run (a test tries several).
void set_order_seed(std::uint64_t seed);

}  // namespace weft::emulation
