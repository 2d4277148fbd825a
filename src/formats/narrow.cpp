#include "formats/narrow.h"

#include <cmath>

#include "core/check.h"
#include "core/host_copy.h"
#include "kernels/ops.h"

namespace weft {

void check_fits(std::span<const float> values, DType dtype, const std::string& name) {
  if (dtype == DType::f32) return;
  // From here on a number would round to infinity: half a step above the largest.
  const float limit = dtype == DType::f16 ? 65520.0f : 0x1.FFp127f;
  const char* allowed = dtype == DType::f16 ? "bf16, fp32" : "fp32";
  for (float x : values)
    CHECK_USER(std::fabs(x) < limit, "tensor {} holds {}, above what {} can hold; allowed: {}",
               name, x, dtype_name(dtype), std::string("--dtype ") + allowed);
}

WideWrite::WideWrite(View to, std::vector<float>& room) : to_(to), wide_(to) {
  if (to.dtype() == DType::f32 && to.device().type == DeviceType::cpu) return;
  room.resize(static_cast<std::size_t>(to.elems()));
  wide_ = View(room.data(), to.shape());
}

void WideWrite::finish(const std::string& name, Stream& stream) {
  if (wide_.data() == to_.data()) return;
  check_fits({wide_.as<float>(), static_cast<std::size_t>(wide_.elems())}, to_.dtype(), name);
  Stream host({}, stream.n_threads());
  const ConstView flat = wide_.reshape({wide_.elems()});
  write_pieces(to_, stream, [&](std::int64_t begin, View piece) {
    convert(piece, flat.rows(begin, begin + piece.elems()), host);
  });
}

}  // namespace weft
