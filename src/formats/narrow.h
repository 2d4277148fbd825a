// Weights that become narrower where they are held or written.
#pragma once

#include <span>
#include <string>

#include "core/device.h"
#include "core/tensor.h"

namespace weft {

// UserError that names the tensor where a number is too large for the dtype (fp16 ends at 65504;
// what rounds above it would become infinite).
void check_fits(std::span<const float> values, DType dtype, const std::string& name);

// `wide` is fp32 of the same shape; checked, then converted.
void narrow(View to, ConstView wide, const std::string& name, Stream& stream);

}  // namespace weft
