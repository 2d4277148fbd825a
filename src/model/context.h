// What every step of a model is handed: the grid, the stream, how to multiply, and who watches.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include "comm/grid.h"
#include "core/clock.h"
#include "core/device.h"
#include "kernels/ops.h"

namespace weft {

class PassLimit;  // comm/pass_limit.h

// Of half a micro-batch at least, for one half's tensor-parallel sums to run while the other
// computes: so few still fill a GPU (kernels/README.md).
constexpr std::int64_t kPieceRows = 1024;

struct Context {
  const Grid& grid;
  Stream& stream;
  Precision precision = Precision::fp32;
  DType act = DType::f32;       // of activations and their gradients: activation_dtype
  ShareClock* clock = nullptr;  // null: nobody counts
  std::function<void(std::int64_t layer, std::string_view name, ConstView view)>
      observer;                // empty: nobody watches
  PassLimit* limit = nullptr;  // of passes over texts; null: they run to their end
  bool graphs = true;          // work that comes again in the same shape is captured, on a GPU
  std::int64_t piece_rows = kPieceRows;

  void observe(std::int64_t layer, std::string_view name, ConstView view) const {
    if (observer) observer(layer, name, view);
  }
};

// What a model's activations are, where its matrices are multiplied (training) or held (inference)
// as `dtype`: bf16 on a GPU where they are; the CPU computes in fp32.
inline DType activation_dtype(Device device, DType dtype) {
  return device.type == DeviceType::cuda && dtype == DType::bf16 ? DType::bf16 : DType::f32;
}

// Books the enclosing scope where somebody counts:  const auto timed = time_as(ctx,
// TimeShare::comm);
inline std::optional<TimeAs> time_as(const Context& ctx, TimeShare share) {
  return ctx.clock ? std::optional<TimeAs>(std::in_place, *ctx.clock, share) : std::nullopt;
}

}  // namespace weft
