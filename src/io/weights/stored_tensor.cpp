#include "io/weights/stored_tensor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "core/check.h"
#include "io/mapped_file.h"
#include "io/weights/gguf_blocks.h"

namespace weft {
namespace {

// One half: the exponent is moved to fp32's bias by integer arithmetic. Without branches, so that
// the loop vectorises (to_float does not), and without fp32 subnormals, which a library may have
// switched off.
float widen_one(Float16 x) {
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000u) << 16,
                      magnitude = static_cast<std::uint32_t>(x.bits & 0x7FFFu) << 13;
  const std::uint32_t normal = magnitude + (112u << 23);
  const std::uint32_t special = magnitude | 0x7F800000u;  // infinity, NaN
  // 2^-14 (1 + mantissa / 1024) - 2^-14
  const auto subnormal = std::bit_cast<std::uint32_t>(
      std::bit_cast<float>(magnitude + (113u << 23)) - std::bit_cast<float>(113u << 23));
  const std::uint32_t is_special = 0u - static_cast<std::uint32_t>(magnitude >= 0x7C00u << 13);
  const std::uint32_t is_subnormal = 0u - static_cast<std::uint32_t>(magnitude < 0x0400u << 13);
  return std::bit_cast<float>(sign | (special & is_special) | (subnormal & is_subnormal) |
                              (normal & ~(is_special | is_subnormal)));
}
float widen_one(BFloat16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
float widen_one(double x) { return static_cast<float>(x); }

template <class T>
void widen(const std::byte* from, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, from + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
    out[i] = widen_one(value);
  }
}

// A run of blocks; those cut by its ends are widened aside.
void read_blocks(const StoredTensor& tensor, std::int64_t begin, std::int64_t count, float* out) {
  const BlockSize size = block_size(tensor.format);
  std::array<float, kMaxBlockElems> aside;
  while (count > 0) {
    const std::int64_t within = begin % size.elems;
    const std::byte* from = tensor.data + static_cast<std::size_t>(begin / size.elems) * size.bytes;
    std::int64_t n = std::min(count, size.elems - within);
    if (within == 0 && n == size.elems) {
      const std::int64_t blocks = count / size.elems;
      widen_blocks(tensor.format, from, blocks, out);
      n = blocks * size.elems;
    } else {
      widen_blocks(tensor.format, from, 1, aside.data());
      std::copy_n(aside.data() + within, n, out);
    }
    begin += n;
    count -= n;
    out += n;
  }
}

const char* name_in_files(DType dtype) {
  switch (dtype) {
    case DType::i64:
      return "I64";
    case DType::i32:
      return "I32";
    case DType::u16:
      return "U16";
    case DType::i8:
      return "I8";
    default:
      return "U8";
  }
}

// Elements in the file's own order.
void read_run(const StoredTensor& tensor, std::int64_t begin, std::int64_t count, float* out) {
  if (tensor.format != TensorFormat::elements) return read_blocks(tensor, begin, count, out);
  const std::byte* from = tensor.data + static_cast<std::size_t>(begin) * dtype_bytes(tensor.dtype);
  switch (tensor.dtype) {
    case DType::f32:
      if (count > 0) std::memcpy(out, from, static_cast<std::size_t>(count) * 4);
      return;
    case DType::f16:
      return widen<Float16>(from, count, out);
    case DType::bf16:
      return widen<BFloat16>(from, count, out);
    case DType::f64:
      return widen<double>(from, count, out);
    default:
      user_error("{}: tensor {} is {}; weights must be F32, F16, BF16 or F64", tensor.file,
                 tensor.name, name_in_files(tensor.dtype));
  }
}

std::int64_t stored_row(const StoredTensor& tensor, std::int64_t row) {
  const std::int64_t H = tensor.row_heads, rows = tensor.shape[0];
  if (tensor.row_order == RowOrder::rotated_pairs) {
    const std::int64_t D = rows / H, h = row / D, half = row % D / (D / 2), i = row % (D / 2);
    return h * D + 2 * i + half;
  }
  const std::int64_t D = rows / (3 * H), h = row / (3 * D), part = row / D % 3, i = row % D;
  return (part * H + h) * D + i;
}

void read_reordered(const StoredTensor& tensor, std::int64_t begin, std::int64_t count,
                    float* out) {
  const std::int64_t H = tensor.row_heads,
                     parts = tensor.row_order == RowOrder::rotated_pairs ? 2 : 3;
  CHECK(tensor.shape.rank() >= 1 && H > 0 && tensor.shape[0] % (parts * H) == 0,
        "{}: {} rows in {} heads", tensor.name, tensor.shape.str(), H);
  if (count == 0) return read_run(tensor, 0, 0, out);
  const std::int64_t I = tensor.shape.elems() / tensor.shape[0];
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t row = (begin + done) / I, column = (begin + done) % I,
                       n = std::min(count - done, I - column);
    read_run(tensor, stored_row(tensor, row) * I + column, n, out + done);
    done += n;
  }
}

// out (our rows [row, row_end) x columns [column, column_end), `stride` apart) of a tensor stored
// the other way round: each stored row gives a piece of one of our columns, as long as the largest
// block.
void read_turned(const StoredTensor& tensor, std::int64_t row, std::int64_t row_end,
                 std::int64_t column, std::int64_t column_end, std::int64_t stride, float* out) {
  std::array<float, kMaxBlockElems> piece;
  const std::int64_t I = tensor.shape[0];
  for (std::int64_t first = row; first < row_end;) {
    const std::int64_t n = std::min(row_end - first, kMaxBlockElems - first % kMaxBlockElems);
    for (std::int64_t c = column; c < column_end; ++c) {
      read_run(tensor, c * I + first, n, piece.data());
      for (std::int64_t k = 0; k < n; ++k)
        out[(first - row + k) * stride + c - column] = piece[static_cast<std::size_t>(k)];
    }
    first += n;
  }
}

void read_transposed(const StoredTensor& tensor, std::int64_t begin, std::int64_t count,
                     float* out) {
  CHECK(tensor.shape.rank() == 2 && tensor.row_order == RowOrder::as_is,
        "{}: {} cannot be transposed", tensor.name, tensor.shape.str());
  if (count == 0) return read_run(tensor, 0, 0, out);
  const std::int64_t O = tensor.shape[1];
  const auto rest_of_row = [&] {
    const std::int64_t column = begin % O, n = std::min(count, O - column);
    read_turned(tensor, begin / O, begin / O + 1, column, column + n, O, out);
    begin += n;
    count -= n;
    out += n;
  };
  if (begin % O != 0) rest_of_row();
  if (const std::int64_t rows = count / O; rows > 0) {
    read_turned(tensor, begin / O, begin / O + rows, 0, O, O, out);
    begin += rows * O;
    count -= rows * O;
    out += rows * O;
  }
  if (count > 0) rest_of_row();
}

}  // namespace

void read_elements(const StoredTensor& tensor, std::int64_t begin, std::int64_t count, float* out) {
  const std::int64_t elems = tensor.shape.elems();
  CHECK(begin >= 0 && count >= 0 && begin <= elems && count <= elems - begin,
        "{}: elements {}+{} of {}", tensor.name, begin, count, tensor.shape.str());
  CHECK_USER(tensor.unreadable.empty(), "{}: tensor {} {}; weights must be F32, F16, BF16 or F64",
             tensor.file, tensor.name, tensor.unreadable);
  if (tensor.transposed)
    read_transposed(tensor, begin, count, out);
  else if (tensor.row_order != RowOrder::as_is)
    read_reordered(tensor, begin, count, out);
  else
    read_run(tensor, begin, count, out);
  check_mapping(tensor.data);
  if (tensor.offset != 0)
    for (std::int64_t i = 0; i < count; ++i) out[i] += tensor.offset;
}

StoredTensor as_stored(const StoredTensor& transposed) {
  CHECK(transposed.transposed, "{} is not transposed", transposed.name);
  StoredTensor tensor = transposed;
  tensor.transposed = false;
  tensor.shape = Dims{transposed.shape[1], transposed.shape[0]};
  return tensor;
}

}  // namespace weft
