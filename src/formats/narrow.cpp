#include "formats/narrow.h"

#include <cmath>

#include "core/check.h"
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

void narrow(View to, ConstView wide, const std::string& name, Stream& stream) {
  check_fits({wide.as<float>(), static_cast<std::size_t>(wide.elems())}, to.dtype(), name);
  convert(to, wide, stream);
}

}  // namespace weft
