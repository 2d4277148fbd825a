// What one thread does of a product with a matrix in panels (panel_linear.cpp).
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace weft::cpu {

constexpr std::int64_t kPanelRunRows = 384;  // at most: they share a reading of the matrix

struct PanelRun {
  float* y;        // (n_rows, O)
  const float* x;  // (n_rows, I)
  std::int64_t n_rows, O, I;
  const void* w;  // (O, I)
  DType dtype;
  bool in_panels;
  const float* bias;        // (O) or null
  std::int64_t begin, end;  // outputs; whole panels, but for the last
  float* scratch;           // kPanelRunRows · kPanel sums, a part of a panel
};

}  // namespace weft::cpu
