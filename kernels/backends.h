// The back ends behind ops.h: each op once per back end, under the same name and type
// (weft::cpu::linear, …), gathered in one table. ops.cpp checks shapes and dtypes and then calls
// the table of the tensors' device.
#pragma once

#include <string>

#include "kernels/ops.h"

// clang-format off
#define WEFT_FOR_EACH_OP(X)                                                                     \
  X(linear) X(linear_backward_input) X(linear_backward_weight)                                  \
  X(linear_gelu) X(linear_gelu_backward)                                                        \
  X(dropout) X(add_layer_norm) X(add_layer_norm_backward) X(add_rms_norm)                       \
  X(add_rms_norm_backward) X(head_squares) X(head_norm) X(head_dots) X(head_norm_backward)       \
  X(activation) X(activation_backward)                                                          \
  X(gated_activation) X(gated_activation_backward) X(rope) X(rope_backward)                     \
  X(attention) X(attention_backward) X(attention_weights) X(attention_cached)                   \
  X(embedding) X(embedding_backward)                                                            \
  X(cross_entropy_stats) X(cross_entropy_combine) X(cross_entropy_backward)                     \
  X(element_loss) X(adamw) X(sum_of_squares) X(clip_scale) X(add) X(scale) X(soft_cap)          \
  X(convert) X(fill) X(gather_rows) X(scatter_rows) X(join_columns) X(add_sum)                  \
  X(sample) X(warp_logits)
// clang-format on

namespace weft {

#define WEFT_OP_POINTER(op) decltype(&::weft::op) op;
struct Backend {
  WEFT_FOR_EACH_OP(WEFT_OP_POINTER)
};
#undef WEFT_OP_POINTER

namespace cpu {
#define WEFT_DECLARE_OP(op) decltype(::weft::op) op;
WEFT_FOR_EACH_OP(WEFT_DECLARE_OP)
#undef WEFT_DECLARE_OP
}  // namespace cpu

const Backend& cuda_backend();  // throws a UserError where CUDA is not built in
bool cuda_available();          // built in, and a device is present
// Why its matmul library cannot be used, a clause; "": it can, or CUDA is not built in.
std::string cuda_missing_library();
bool cuda_takes_head_dim(std::int64_t head_dim);  // its attention does
constexpr const char* kCudaHeadDims = "multiples of 8 from 16 to 256";

}  // namespace weft
