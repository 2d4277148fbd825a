// ggml's block-quantised formats, widened to fp32 bit for bit as the reference (the gguf package's
// quants.py, ggml-quants.c).
#pragma once

#include "io/weights/stored_tensor.h"

namespace weft {

constexpr std::int64_t kMaxBlockElems = 256;

struct BlockSize {
  std::int64_t elems;
  std::size_t bytes;
};
BlockSize block_size(TensorFormat format);  // of formats of blocks only

// out[0, n_blocks * elems) = the blocks from `from` on, which may be unaligned.
void widen_blocks(TensorFormat format, const std::byte* from, std::int64_t n_blocks, float* out);

}  // namespace weft
