// From the views that ops are given to what launches are handed: device pointers, the activations'
// type, whether 16-byte access is possible.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <type_traits>

#include "core/check.h"
#include "core/tensor.h"

namespace weft::cuda {

template <class T>
T* pointer(View x) {
  return static_cast<T*>(x.data());
}
template <class T>
const T* pointer(ConstView x) {
  return static_cast<const T*>(x.data());
}

// f(T()) for the device's type of the dtype; ops.cpp has checked that it is one of these.
template <class F>
void for_act(DType dtype, const F& f) {
  if (dtype == DType::bf16)
    f(__nv_bfloat16());
  else
    f(float());
}
template <class F>
void for_float(DType dtype, const F& f) {
  if (dtype == DType::f16)
    f(__half());
  else
    for_act(dtype, f);
}

// How many elements threads move at once: runs of 16 bytes or a multiple where `packs`, else 1.
// Rows of `pitch` elements of any dtype.
constexpr int kPackElems = 8;
template <class T>
constexpr int kRun = 16 / sizeof(T);

template <class... Pointers>
bool aligned(Pointers... pointers) {  // to 16 bytes; null is
  return ((reinterpret_cast<std::uintptr_t>(pointers) % 16 == 0) && ...);
}
template <class... Pointers>
bool packs(std::int64_t pitch, Pointers... pointers) {
  return pitch % kPackElems == 0 && aligned(pointers...);
}
template <class... Views>
void expect_aligned(const char* op, Views... views) {
  CHECK(aligned(views.data()...), "{}: a tensor does not begin at a multiple of 16 bytes", op);
}
// f(std::integral_constant<int, kPacked or 1>())
template <int kPacked, class F>
void for_pack(bool packed, const F& f) {
  if (packed)
    f(std::integral_constant<int, kPacked>());
  else
    f(std::integral_constant<int, 1>());
}

}  // namespace weft::cuda
