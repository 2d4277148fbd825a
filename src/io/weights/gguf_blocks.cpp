// This file is compiled without contraction of a * b + c into one rounding: the reference rounds
// twice.
#include "io/weights/gguf_blocks.h"

#include <cstring>

#include "core/check.h"

namespace weft {
namespace {

using Byte = std::uint8_t;

float half_at(const Byte* from) {
  Float16 x;
  std::memcpy(&x.bits, from, 2);
  return to_float(x);
}
std::uint32_t word_at(const Byte* from) {
  std::uint32_t x = 0;
  std::memcpy(&x, from, 4);
  return x;
}
int signed_byte(Byte x) { return static_cast<std::int8_t>(x); }

// Blocks of 32: element i < 16 is the low half of byte i, element 16 + i the high one.

// f16 d, 16 bytes: d (q - 8)
struct Q4_0 {
  static constexpr BlockSize size = {32, 18};
  static void widen(const Byte* b, float* out) {
    const float d = half_at(b);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * static_cast<float>((b[2 + i] & 15) - 8);
      out[16 + i] = d * static_cast<float>((b[2 + i] >> 4) - 8);
    }
  }
};

// f16 d, f16 m, 16 bytes: d q + m
struct Q4_1 {
  static constexpr BlockSize size = {32, 20};
  static void widen(const Byte* b, float* out) {
    const float d = half_at(b), m = half_at(b + 2);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * static_cast<float>(b[4 + i] & 15) + m;
      out[16 + i] = d * static_cast<float>(b[4 + i] >> 4) + m;
    }
  }
};

// f16 d, 32 fifth bits, 16 bytes: d (q - 16)
struct Q5_0 {
  static constexpr BlockSize size = {32, 22};
  static void widen(const Byte* b, float* out) {
    const float d = half_at(b);
    const std::uint32_t high = word_at(b + 2);
    for (int i = 0; i < 16; ++i) {
      out[i] =
          d * static_cast<float>(static_cast<int>((b[6 + i] & 15u) | (high >> i & 1u) << 4) - 16);
      out[16 + i] = d * static_cast<float>(
                            static_cast<int>((b[6 + i] >> 4u) | (high >> (16 + i) & 1u) << 4) - 16);
    }
  }
};

// f16 d, f16 m, 32 fifth bits, 16 bytes: d q + m
struct Q5_1 {
  static constexpr BlockSize size = {32, 24};
  static void widen(const Byte* b, float* out) {
    const float d = half_at(b), m = half_at(b + 2);
    const std::uint32_t high = word_at(b + 4);
    for (int i = 0; i < 16; ++i) {
      out[i] = d * static_cast<float>((b[8 + i] & 15u) | (high >> i & 1u) << 4) + m;
      out[16 + i] = d * static_cast<float>((b[8 + i] >> 4u) | (high >> (16 + i) & 1u) << 4) + m;
    }
  }
};

// f16 d, 32 signed bytes: d q
struct Q8_0 {
  static constexpr BlockSize size = {32, 34};
  static void widen(const Byte* b, float* out) {
    const float d = half_at(b);
    for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(signed_byte(b[2 + i]));
  }
};

// Blocks of 256 ("K"): scales of their own for every 16 or 32 elements.

// 16 bytes (4-bit scale, 4-bit minimum), 64 bytes of 2-bit q, f16 d, f16 dmin: (d scale) q - dmin
// minimum
struct Q2_K {
  static constexpr BlockSize size = {256, 84};
  static void widen(const Byte* b, float* out) {
    const Byte* q = b + 16;
    const float d = half_at(b + 80), dmin = half_at(b + 82);
    for (int group = 0; group < 16; ++group, out += 16) {
      const float scale = d * static_cast<float>(b[group] & 15),
                  minimum = dmin * static_cast<float>(b[group] >> 4);
      const Byte* from = q + group / 8 * 32 + group % 2 * 16;
      const int shift = group % 8 / 2 * 2;
      for (int i = 0; i < 16; ++i)
        out[i] = scale * static_cast<float>(from[i] >> shift & 3) - minimum;
    }
  }
};

// 32 bytes of third bits (a bit that is set: no 4 taken away), 64 bytes of 2-bit q, 16 scales of 6
// bits, f16 d: (d (scale - 32)) q
struct Q3_K {
  static constexpr BlockSize size = {256, 110};
  static void widen(const Byte* b, float* out) {
    const Byte *high = b, *q = b + 32, *scales = b + 96;
    const float d = half_at(b + 108);
    for (int group = 0; group < 16; ++group, out += 16) {
      const int low = scales[group % 8] >> (group / 8 * 4) & 15,
                top = scales[8 + group % 4] >> (group / 4 * 2) & 3;
      const float scale = d * static_cast<float>((low | top << 4) - 32);
      const Byte *from = q + group / 8 * 32 + group % 2 * 16, *high_from = high + group % 2 * 16;
      const int shift = group % 8 / 2 * 2, bit = group / 2;
      for (int i = 0; i < 16; ++i)
        out[i] = scale *
                 static_cast<float>((from[i] >> shift & 3) - ((high_from[i] >> bit & 1) ^ 1) * 4);
    }
  }
};

// Eight scales and eight minima of 6 bits in 12 bytes.
struct ScaleAndMinimum {
  int scale, minimum;
};
ScaleAndMinimum packed_scale(const Byte* s, int group) {
  if (group < 4) return {s[group] & 63, s[4 + group] & 63};
  return {(s[4 + group] & 15) | (s[group - 4] >> 6) << 4, (s[4 + group] >> 4) | (s[group] >> 6)
                                                                                    << 4};
}

// f16 d, f16 dmin, 12 bytes of scales, 128 bytes of 4-bit q: (d scale) q - dmin minimum
struct Q4_K {
  static constexpr BlockSize size = {256, 144};
  static void widen(const Byte* b, float* out) {
    const float d = half_at(b), dmin = half_at(b + 2);
    for (int group = 0; group < 8; ++group, out += 32) {
      const auto [s, m] = packed_scale(b + 4, group);
      const float scale = d * static_cast<float>(s), minimum = dmin * static_cast<float>(m);
      const Byte* from = b + 16 + group / 2 * 32;
      const int shift = group % 2 * 4;
      for (int i = 0; i < 32; ++i)
        out[i] = scale * static_cast<float>(from[i] >> shift & 15) - minimum;
    }
  }
};

// As Q4_K, with 32 bytes of fifth bits before q: bit `group` of byte i is that of element i of the
// group.
struct Q5_K {
  static constexpr BlockSize size = {256, 176};
  static void widen(const Byte* b, float* out) {
    const float d = half_at(b), dmin = half_at(b + 2);
    const Byte* high = b + 16;
    for (int group = 0; group < 8; ++group, out += 32) {
      const auto [s, m] = packed_scale(b + 4, group);
      const float scale = d * static_cast<float>(s), minimum = dmin * static_cast<float>(m);
      const Byte* from = b + 48 + group / 2 * 32;
      const int shift = group % 2 * 4;
      for (int i = 0; i < 32; ++i)
        out[i] = scale * static_cast<float>((from[i] >> shift & 15) | (high[i] >> group & 1) << 4) -
                 minimum;
    }
  }
};

// 128 bytes of low halves, 64 bytes of upper 2 bits, 16 signed scales, f16 d: (d scale) (q - 32)
struct Q6_K {
  static constexpr BlockSize size = {256, 210};
  static void widen(const Byte* b, float* out) {
    const Byte *low = b, *high = b + 128, *scales = b + 192;
    const float d = half_at(b + 208);
    for (int group = 0; group < 16; ++group, out += 16) {
      const int half = group / 8, line = group % 8 / 2,
                at = group % 2 * 16;  // line: 32 elements of the 128 of a half
      const float scale = d * static_cast<float>(signed_byte(scales[group]));
      const Byte *low_from = low + half * 64 + line % 2 * 32 + at,
                 *high_from = high + half * 32 + at;
      for (int i = 0; i < 16; ++i) {
        const int q = (low_from[i] >> (line / 2 * 4) & 15) | (high_from[i] >> (line * 2) & 3) << 4;
        out[i] = scale * static_cast<float>(q - 32);
      }
    }
  }
};

// visit(a block's type) of the format.
template <class Visit>
auto with_block(TensorFormat format, const Visit& visit) {
  switch (format) {
    case TensorFormat::q4_0:
      return visit(Q4_0());
    case TensorFormat::q4_1:
      return visit(Q4_1());
    case TensorFormat::q5_0:
      return visit(Q5_0());
    case TensorFormat::q5_1:
      return visit(Q5_1());
    case TensorFormat::q8_0:
      return visit(Q8_0());
    case TensorFormat::q2_k:
      return visit(Q2_K());
    case TensorFormat::q3_k:
      return visit(Q3_K());
    case TensorFormat::q4_k:
      return visit(Q4_K());
    case TensorFormat::q5_k:
      return visit(Q5_K());
    case TensorFormat::q6_k:
      return visit(Q6_K());
    case TensorFormat::elements:
      break;
  }
  CHECK(false, "elements that are stored one by one have no blocks");
}

}  // namespace

BlockSize block_size(TensorFormat format) {
  return with_block(format, [](auto block) { return decltype(block)::size; });
}

void widen_blocks(TensorFormat format, const std::byte* from, std::int64_t n_blocks, float* out) {
  const Byte* bytes = reinterpret_cast<const Byte*>(from);
  with_block(format, [&](auto block) {
    using Block = decltype(block);
    for (std::int64_t i = 0; i < n_blocks; ++i)
      Block::widen(bytes + static_cast<std::size_t>(i) * Block::size.bytes,
                   out + i * Block::size.elems);
  });
}

}  // namespace weft
