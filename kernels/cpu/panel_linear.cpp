#include "kernels/cpu/panel_linear.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/panel_linear.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <omp.h>

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/panel_run.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/tile_gemm-inl.h"
#include "kernels/cpu/widen-inl.h"
#include "kernels/panels.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums of as many rows and outputs at once as the registers hold beside their factors: for R rows,
// so many vectors of outputs.
constexpr int kGroupRows = 6;
template <int R>
constexpr int kVectors = HWY_TARGET <= HWY_AVX3       ? 4
                         : R > 2 || HWY_HAVE_SCALABLE ? 2
                                                      : 8 / R;

// Where sums go, and what memory is asked for meanwhile: `lines` cache lines of 64 bytes from
// `ahead` on at each input.
struct Sums {
  float* y;
  std::int64_t ld;
  bool add;           // to what is there
  const float* bias;  // of kPanel outputs, or null
  const std::byte* ahead;
  int lines;
};
constexpr std::int64_t kLine = 64;

// R rows of x against V vectors of outputs over K inputs, which lie kPanel apart.
template <int R, int V, int kLines, class W>
HWY_INLINE void sum_tile(const Sums& to, const float* HWY_RESTRICT x, std::int64_t ldx,
                         const W* HWY_RESTRICT w, std::int64_t K) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<F> sums[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) sums[r][v] = hn::Zero(d);
  for (std::int64_t k = 0; k < K; ++k) {
    hn::Vec<F> weights[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) weights[v] = load(d, w + k * kPanel + v * L);
#pragma GCC unroll 4
    for (int l = 0; l < kLines; ++l)
      __builtin_prefetch(to.ahead + (k * kLines + l) * kLine, 0, 2);  // into the second cache
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const auto input = hn::Set(d, x[r * ldx + k]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sums[r][v] = hn::MulAdd(input, weights[v], sums[r][v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      float* at = to.y + r * to.ld + v * L;
      auto sum = sums[r][v];
      if (to.add) sum = hn::Add(hn::LoadU(d, at), sum);
      if (to.bias) sum = hn::Add(sum, hn::LoadU(d, to.bias + v * L));
      hn::StoreU(sum, d, at);
    }
}

// R rows against all outputs of a panel, some at a time, each of which fetches its share.
template <int R, class W>
void sum_group(Sums to, const float* x, std::int64_t ldx, const W* w, std::int64_t K) {
  const std::int64_t L = std::min<std::int64_t>(static_cast<std::int64_t>(hn::Lanes(F())), kPanel);
  constexpr int V = kVectors<R>;
  const auto times = static_cast<int>(std::max<std::int64_t>(1, kPanel / (V * L)));
  const int all = to.lines, each = std::max(1, all / times);
  for (int t = 0; t < times; ++t) {
    if (t * each >= all)
      sum_tile<R, V, 0>(to, x, ldx, w, K);
    else if (each == 1)
      sum_tile<R, V, 1>(to, x, ldx, w, K);
    else if (each == 2)
      sum_tile<R, V, 2>(to, x, ldx, w, K);
    else
      sum_tile<R, V, 4>(to, x, ldx, w, K);
    to.y += V * L;
    w += V * L;
    if (to.ahead) to.ahead += each * K * kLine;
    if (to.bias) to.bias += V * L;
  }
}

template <class W>
void sum_rows(std::int64_t n, const Sums& to, const float* x, std::int64_t ldx, const W* w,
              std::int64_t K) {
  switch (n) {
    case 1:
      return sum_group<1>(to, x, ldx, w, K);
    case 2:
      return sum_group<2>(to, x, ldx, w, K);
    case 3:
      return sum_group<3>(to, x, ldx, w, K);
    case 4:
      return sum_group<4>(to, x, ldx, w, K);
    case 5:
      return sum_group<5>(to, x, ldx, w, K);
    case 6:
      return sum_group<6>(to, x, ldx, w, K);
  }
}

// A panel of a run: `width` outputs from `begin` on.
template <class W>
struct Panel {
  const W* w;
  std::int64_t begin, width;
  bool last;
};

// The part of a panel that begins at input k as fp32, kPanel outputs an input: made in `room`.
template <class W>
void make_part(const PanelRun& t, const Panel<W>& p, std::int64_t k, std::int64_t K, float* room) {
  if (t.in_panels && p.width == kPanel) return widen_row(room, p.w + k * kPanel, K * kPanel);
  if (t.in_panels) {
    for (std::int64_t i = 0; i < K; ++i)
      widen_row(room + i * kPanel, p.w + (k + i) * p.width, p.width);
    return;
  }
  constexpr std::int64_t kRun = 64;  // inputs of some rows that a first cache holds beside others
  [[maybe_unused]] float wide[4 * kRun];
  for (std::int64_t i = 0; i < K; i += kRun)
    for (std::int64_t o = 0; o < p.width; o += 4) {
      const std::int64_t n = std::min<std::int64_t>(4, p.width - o), n_i = std::min(kRun, K - i);
      const W* rows = p.w + o * t.I + k + i;
      float* to = room + i * kPanel + o;
      if constexpr (std::is_same_v<W, float>) {
        tile_transpose(to, kPanel, rows, t.I, n, n_i, 1);
      } else {
        for (std::int64_t r = 0; r < n; ++r) widen_row(wide + r * kRun, rows + r * t.I, n_i);
        tile_transpose(to, kPanel, wide, kRun, n, n_i, 1);
      }
    }
}

// All rows against a part of a panel, in groups of about equal size; what memory holds behind the
// part is fetched meanwhile, by the first groups.
template <class W>
void sum_part(const PanelRun& t, Sums to, const float* x, const W* w, std::int64_t K) {
  const std::int64_t groups = (t.n_rows + kGroupRows - 1) / kGroupRows;
  const std::byte* ahead = to.ahead;
  const int all = ahead ? sizeof(W) : 0, each = groups < all ? all : 1;
  float* y = to.y;
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t n = t.n_rows * g / groups, end = t.n_rows * (g + 1) / groups;
    to.y = y + n * to.ld;
    to.lines = g * each < all ? each : 0;
    to.ahead = to.lines > 0 ? ahead + g * each * K * kLine : nullptr;
    sum_rows(end - n, to, x + n * t.I, t.I, w, K);
  }
}

// Narrow weights are widened in registers for each group of so few rows, for more once.
constexpr std::int64_t kRowsThatWiden = 6 * kGroupRows;

template <class W>
void sum_panel(const PanelRun& t, const Panel<W>& p) {
  // What a last panel has too few outputs for is summed beside y.
  const bool whole = p.width == kPanel;
  float *beside = t.scratch, *room = beside + kPanelRunRows * kPanel;
  float bias[kPanel] = {};
  if (t.bias) std::copy_n(t.bias + p.begin, p.width, bias);
  Sums to = {.y = whole ? t.y + p.begin : beside,
             .ld = whole ? t.O : kPanel,
             .add = false,
             .bias = nullptr,
             .ahead = nullptr,
             .lines = 0};
  if (!whole) std::fill_n(room, kPanelPart * kPanel, 0.0f);
  // Parts of about equal size, so that one fetches the next.
  const std::int64_t parts = std::max<std::int64_t>(1, (t.I + kPanelPart - 1) / kPanelPart);
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t k = t.I * part / parts, K = t.I * (part + 1) / parts - k;
    to.add = part > 0;
    to.bias = t.bias && part + 1 == parts ? bias : nullptr;
    if (t.in_panels && whole && (part + 1 < parts || !p.last))
      to.ahead = reinterpret_cast<const std::byte*>(p.w + (k + K) * kPanel);
    else
      to.ahead = nullptr;
    if (t.in_panels && whole && (std::is_same_v<W, float> || t.n_rows <= kRowsThatWiden)) {
      sum_part(t, to, t.x + k, p.w + k * kPanel, K);
    } else {
      make_part(t, p, k, K, room);
      sum_part(t, to, t.x + k, room, K);
    }
  }
  if (whole) return;
  for (std::int64_t n = 0; n < t.n_rows; ++n)
    std::copy_n(beside + n * kPanel, p.width, t.y + n * t.O + p.begin);
}

template <class W>
void sum_panels(const PanelRun& t) {
  for (std::int64_t begin = t.begin; begin < t.end; begin += kPanel)
    sum_panel<W>(t, {.w = static_cast<const W*>(t.w) + begin * t.I,
                     .begin = begin,
                     .width = panel_width(t.O, begin),
                     .last = begin + kPanel >= t.end});
}

void SumPanels(const PanelRun& t) {
  if (t.dtype == DType::f32)
    sum_panels<float>(t);
  else if (t.dtype == DType::bf16)
    sum_panels<BFloat16>(t);
  else
    sum_panels<Float16>(t);
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(SumPanels);

namespace {

constexpr std::int64_t kScratchElems = (kPanelRunRows + kPanelPart) * kPanel;

// How threads share a product: runs of panels times blocks of rows, each a piece of one thread.
struct Shares {
  std::int64_t runs, blocks;
};
Shares shares_of(std::int64_t N, std::int64_t panels, std::int64_t threads) {
  const std::int64_t least = (N + kPanelRunRows - 1) / kPanelRunRows;
  Shares best = {std::min(panels, threads), least};
  const auto rounds = [&](const Shares& s) {  // of one row, by the thread that has most
    return (s.runs * s.blocks + threads - 1) / threads * ((panels + s.runs - 1) / s.runs) *
           ((N + s.blocks - 1) / s.blocks);
  };
  constexpr std::int64_t kLeastRows = 24;  // of a block, which reads the matrix once
  for (std::int64_t blocks = least + 1; blocks * kLeastRows <= N && blocks <= threads; ++blocks) {
    const Shares s = {std::min(panels, std::max<std::int64_t>(1, threads / blocks)), blocks};
    if (rounds(s) < rounds(best)) best = s;
  }
  return best;
}

}  // namespace

std::size_t panel_linear_scratch_bytes(int n_threads) {
  return kScratchElems * sizeof(float) * static_cast<std::size_t>(n_threads);
}

void panel_linear(float* y, const float* x, ConstView w, const float* bias, std::int64_t N,
                  Stream& stream) {
  const auto [O, I] = matrix_dims(w);
  if (N == 0 || O == 0) return;
  auto* scratch =
      static_cast<float*>(stream.scratch(panel_linear_scratch_bytes(stream.n_threads())));
  const std::int64_t panels = (O + kPanel - 1) / kPanel;
  const auto [runs, blocks] = shares_of(N, panels, stream.n_threads());
  const bool in_panels = is_in_panels(w);
  parallel_for(stream, runs * blocks, 1,
               [&, O = O, I = I, runs = runs, blocks = blocks](std::int64_t piece, std::int64_t) {
                 const std::int64_t run = piece % runs, block = piece / runs,
                                    n = N * block / blocks, end = N * (block + 1) / blocks;
                 HWY_DYNAMIC_DISPATCH(SumPanels)
                 ({.y = y + n * O,
                   .x = x + n * I,
                   .n_rows = end - n,
                   .O = O,
                   .I = I,
                   .w = w.data(),
                   .dtype = w.dtype(),
                   .in_panels = in_panels,
                   .bias = bias,
                   .begin = panels * run / runs * kPanel,
                   .end = std::min(O, panels * (run + 1) / runs * kPanel),
                   .scratch = scratch + omp_get_thread_num() * kScratchElems});
               });
}

}  // namespace weft::cpu
#endif
