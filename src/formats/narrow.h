// Weights that become narrower where they are held or written.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"

namespace weft {

// UserError that names the tensor where a number is too large for the dtype (fp16 ends at 65504;
// what rounds above it would become infinite).
void check_fits(std::span<const float> values, DType dtype, const std::string& name);

// Weights as files give them, in fp32 and in host memory, on their way to a tensor of any dtype on
// any device: its own memory where that is the same, else `room`, which lives on from one tensor to
// the next.
class WideWrite {
 public:
  WideWrite(View to, std::vector<float>& room);
  View wide() const { return wide_; }
  // check_fits, then to the tensor, which has it when the stream has come there.
  void finish(const std::string& name, Stream& stream);

 private:
  View to_, wide_;
};

}  // namespace weft
