// A tensor as it lies in a mapped file of weights, and how its elements are read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "core/tensor.h"

namespace weft {

// How numbers are stored: one by one (StoredTensor::dtype says as what), or in blocks that share
// scales (ggml's formats).
enum class TensorFormat : std::uint8_t {
  elements,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k
};

// Where a row of the tensor lies among the stored ones. H is row_heads, D the rows of a head.
enum class RowOrder : std::uint8_t {
  as_is,
  rotated_pairs,  // row (h, half, i) of (H, 2, D / 2) is stored at (h, i, half): Llama's queries
                  // and keys in GGUF
  qkv_by_part,    // row (h, part, i) of (H, 3, D) is stored at (part, h, i): GPT-NeoX's fused
                  // projection in GGUF
};

// `data` may be unaligned: read it with read_elements, which undoes all that the last four fields
// tell of.
struct StoredTensor {
  std::string name;
  DType dtype = DType::f32;  // f32 too for formats of blocks, which widen to it
  Dims shape;                // as Hugging Face's, whatever the file's order
  const std::byte* data = nullptr;
  std::string file;  // for errors
  TensorFormat format = TensorFormat::elements;
  RowOrder row_order = RowOrder::as_is;
  std::int64_t row_heads = 0;
  bool transposed = false;  // `shape` is (I, O), the file holds (O, I) row by row
  float offset = 0;         // added to each element
  std::string unreadable;   // why its elements cannot be read ("is F8_E4M3"); empty: they can
};

// out[0, count) = elements [begin, begin + count) of the tensor, widened to fp32. f32, f16, bf16,
// f64 and all formats of blocks; others are a UserError, so that only tensors which a model needs
// must be of these. Any run may be read, by any number of
// threads at once; long ones are fastest, and those of a transposed tensor slowest.
void read_elements(const StoredTensor& tensor, std::int64_t begin, std::int64_t count, float* out);

// A transposed tensor as the file holds it, (O, I): for who wants that anyway.
StoredTensor as_stored(const StoredTensor& transposed);

}  // namespace weft
