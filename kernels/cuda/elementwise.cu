#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"

namespace weft::cuda {

// op(y, x) for each element, kN a thread; the last few one by one.
struct Sum {
  __device__ __forceinline__ float operator()(float y, float x) const { return y + x; }
};
struct Product {
  float factor;
  __device__ __forceinline__ float operator()(float y, float) const { return y * factor; }
};
struct SoftCap {
  float cap;
  __device__ __forceinline__ float operator()(float, float x) const { return cap * tanhf(x / cap); }
};
struct Copy {
  __device__ __forceinline__ float operator()(float, float x) const { return x; }
};

template <class Op>
constexpr bool kReadsY = false;
template <>
constexpr bool kReadsY<Sum> = true;
template <>
constexpr bool kReadsY<Product> = true;
template <class Op>
constexpr bool kReadsX = true;
template <>
constexpr bool kReadsX<Product> = false;

template <class Y, class X, int kN, class Op>
__device__ __forceinline__ void map_run(Y* y, const X* x, const Op& op) {
  float a[kN] = {}, b[kN] = {};
  if constexpr (kReadsY<Op>) load(a, y);
  if constexpr (kReadsX<Op>) load(b, x);
#pragma unroll
  for (int i = 0; i < kN; ++i) a[i] = op(a[i], b[i]);
  store(y, a);
}

template <class Y, class X, int kN, class Op>
__global__ void __launch_bounds__(256) map_kernel(Y* y, const X* x, std::int64_t elems, Op op) {
  std::int64_t e = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kN;
  if (e + kN <= elems)
    map_run<Y, X, kN>(y + e, x + e, op);
  else
    for (; e < elems; ++e) map_run<Y, X, 1>(y + e, x + e, op);
}

template <class Y, class X, class Op>
void map(View y, ConstView x, const Op& op, double flops_per_elem, Stream& stream) {
  const std::int64_t elems = y.elems();
  const auto n_elems = static_cast<double>(elems);
  const Work work = {
      n_elems * (sizeof(Y) * (kReadsY<Op> ? 2 : 1) + sizeof(X) * (kReadsX<Op> ? 1 : 0)),
      n_elems * flops_per_elem};
  for_pack<kPackElems>(packs(0, y.data(), x.data()), [&](auto n) {
    launch(map_kernel<Y, X, n(), Op>, {{n_blocks(ceil_div(elems, 256 * n))}, {256}}, work, stream,
           pointer<Y>(y), pointer<X>(x), elems, op);
  });
}

void add(View y, ConstView x, Stream& stream) {
  for_act(y.dtype(), [&](auto y_zero) {
    for_act(x.dtype(),
            [&](auto x_zero) { map<decltype(y_zero), decltype(x_zero)>(y, x, Sum(), 1, stream); });
  });
}

void scale(View y, float s, Stream& stream) {
  for_act(y.dtype(),
          [&](auto zero) { map<decltype(zero), decltype(zero)>(y, y, Product{s}, 1, stream); });
}

void soft_cap(View y, ConstView x, float cap, Stream& stream) {
  for_act(y.dtype(),
          [&](auto zero) { map<decltype(zero), decltype(zero)>(y, x, SoftCap{cap}, 3, stream); });
}

void convert(View y, ConstView x, Stream& stream) {
  if (y.dtype() == x.dtype()) {
    if (y.data() != x.data()) copy_bytes(y.data(), x.data(), x.bytes(), stream);
    return;
  }
  for_float(y.dtype(), [&](auto y_zero) {
    for_float(x.dtype(), [&](auto x_zero) {
      using Y = decltype(y_zero);
      using X = decltype(x_zero);
      if constexpr (!std::is_same_v<Y, X>) map<Y, X>(y, x, Copy(), 0, stream);
    });
  });
}

}  // namespace weft::cuda
