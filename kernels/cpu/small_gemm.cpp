#include "kernels/cpu/small_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/small_gemm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// The tile is included once a target.
#include "kernels/cpu/tile_gemm-inl.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Of a sum before it is added to c: a panel of b of as many rows, two vectors wide, is 32 KiB.
constexpr std::int64_t kSumLength = 256;

std::int64_t PanelWidth() {
  return 2 * static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
}

void SmallPiece(float* c, const float* a, const float* b, const GemmShape& s,
                const GemmPiece& piece) {
  const std::int64_t width = PanelWidth(), end = piece.column + piece.columns;
  for (std::int64_t k = 0; k < s.K; k += kSumLength)
    for (std::int64_t n = piece.column; n < end; n += width)
      tile_gemm({a + k * s.M + piece.row, 1, s.M}, b + k * s.N + n, s.N,
                {c + piece.row * s.N + n, s.N, s.accumulate || k > 0}, piece.rows,
                std::min(width, end - n), std::min(kSumLength, s.K - k));
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(PanelWidth);
HWY_EXPORT(SmallPiece);

bool is_small(const GemmShape& s) {
  constexpr std::int64_t kMostElems = 1 << 20;
  return s.M * s.K + s.K * s.N + s.M * s.N <= kMostElems;
}

GemmPieces::GemmPieces(const GemmShape& shape, std::int64_t width, std::int64_t threads)
    : M_(shape.M), N_(shape.N) {
  constexpr std::int64_t kFewestRows = 12;
  const std::int64_t panels = (N_ + width - 1) / width,
                     most_down = std::clamp<std::int64_t>(M_ / kFewestRows, 1, threads);
  std::int64_t least = 0;  // rows and columns that a thread reads
  for (std::int64_t down = 1; down <= most_down; ++down) {
    const std::int64_t across = std::min(threads / down, panels),
                       rows = ((M_ + down - 1) / down + 3) / 4 * 4,  // few odd tiles
        columns = (panels + across - 1) / across * width;
    const bool leaves_threads = down * across < threads && down < most_down;
    if (leaves_threads || (least > 0 && rows + columns >= least)) continue;
    least = rows + columns;
    rows_ = rows;
    columns_ = columns;
  }
  down_ = (M_ + rows_ - 1) / rows_;
  across_ = (N_ + columns_ - 1) / columns_;
}

GemmPiece GemmPieces::operator[](std::int64_t i) const {
  const std::int64_t row = i / across_ * rows_, column = i % across_ * columns_;
  return {row, std::min(rows_, M_ - row), column, std::min(columns_, N_ - column)};
}

// Measured on two Zen 4 cores, the steps of launch/recipes/characters.toml in turns with and
// without (oneDNN 2.6): a step takes 0.99 of the time with its weight gradients here, 1.01 with
// either of the other two forms here as well.
bool small_gemm_serves(const GemmShape& s) {
  return s.transpose_a && !s.transpose_b && s.inputs == DType::f32 && is_small(s);
}

void small_gemm(float* c, const float* a, const float* b, const GemmShape& s, Stream& stream) {
  if (s.M == 0 || s.N == 0) return;
  const GemmPieces pieces(s, HWY_DYNAMIC_DISPATCH(PanelWidth)(), stream.n_threads());
  parallel_for(stream, pieces.size(), 1, [&](std::int64_t i, std::int64_t) {
    HWY_DYNAMIC_DISPATCH(SmallPiece)(c, a, b, s, pieces[i]);
  });
}

}  // namespace weft::cpu
#endif
