#include <algorithm>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/column_sum.cuh"
#include "kernels/cuda/instructions.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"
#include "kernels/scratch.h"

namespace weft::cuda {

// σ(x) and 1 - σ(x), which loses no digits where σ is nearly 1.
struct Sigmoid {
  float value, rest;
};
__device__ __forceinline__ Sigmoid both_sigmoids(float x) {
  const float e = expf(-fmaxf(x, -87.0f));  // below it e leaves the range of __fdividef; the
                                            // sigmoid is 0 to fp32 by then
  const float s = __fdividef(1.0f, 1.0f + e);
  return {s, e * s};
}
__device__ __forceinline__ float sigmoid(float x) { return both_sigmoids(x).value; }

// tanh form: y = x·σ(2u), u = sqrt(2/π)(x + 0.044715 x³), as 0.5·(1 + tanh u) = σ(2u)
struct GeluTanh {
  static constexpr float kTwoRoot2OverPi = 1.5957691216057308f, kCubic = 0.044715f;
  static __device__ __forceinline__ float twice_u(float x) {
    return kTwoRoot2OverPi * x * fmaf(kCubic, x * x, 1.0f);
  }
  static __device__ __forceinline__ float value(float x) { return x * sigmoid(twice_u(x)); }
  static __device__ __forceinline__ float slope(float x) {
    const Sigmoid s = both_sigmoids(twice_u(x));
    const float du = kTwoRoot2OverPi * fmaf(3 * kCubic, x * x, 1.0f);
    return s.value + x * s.value * s.rest * du;
  }
};

struct GeluErf {  // y = x·Φ(x)
  static __device__ __forceinline__ float normal_cdf(float x) {
    return fmaf(0.5f, erff(x * 0.7071067811865476f), 0.5f);
  }
  static __device__ __forceinline__ float value(float x) { return x * normal_cdf(x); }
  static __device__ __forceinline__ float slope(float x) {
    return fmaf(x, 0.3989422804014327f * expf(-0.5f * x * x), normal_cdf(x));
  }
};

struct Silu {
  static __device__ __forceinline__ float value(float x) { return x * sigmoid(x); }
  static __device__ __forceinline__ float slope(float x) {
    const Sigmoid s = both_sigmoids(x);
    return s.value * fmaf(x, s.rest, 1.0f);
  }
};

struct Relu {
  static __device__ __forceinline__ float value(float x) { return x < 0 ? 0.0f : x; }
  static __device__ __forceinline__ float slope(float x) { return x > 0 ? 1.0f : 0.0f; }
};

struct Tanh {
  static __device__ __forceinline__ float value(float x) { return tanhf(x); }
  static __device__ __forceinline__ float slope(float x) {
    const float t = tanhf(x);
    return fmaf(-t, t, 1.0f);
  }
};

// One layout for all four kernels: a warp takes 32 runs of kN columns, and so has their biases in
// registers; the block's 8 warps and the gridDim.y blocks over one another take the rows in turn.
constexpr int kWarps = 8;

struct Rows {
  std::int64_t count;
  int F;
};

template <int kN>
__device__ __forceinline__ int first_column() {
  return static_cast<int>(blockIdx.x * 32 + threadIdx.x % 32) * kN;
}
__device__ __forceinline__ std::int64_t first_row() {
  return static_cast<std::int64_t>(blockIdx.y) * kWarps + threadIdx.x / 32;
}

template <class T, int kN, class Kind>
__global__ void __launch_bounds__(32 * kWarps)
    activation_kernel(T* y, const T* x, const float* bias, Rows rows) {
  const int c = first_column<kN>();
  if (c >= rows.F) return;
  float b[kN] = {};
  if (bias) load(b, bias + c);
  for (std::int64_t row = first_row(); row < rows.count; row += gridDim.y * kWarps) {
    float v[kN];
    load(v, x + row * rows.F + c);
#pragma unroll
    for (int i = 0; i < kN; ++i) v[i] = Kind::value(v[i] + b[i]);
    store(y + row * rows.F + c, v);
  }
}

template <class T, int kN, class Kind>
__global__ void __launch_bounds__(32 * kWarps)
    gated_activation_kernel(T* y, const T* x, const float* bias, Rows rows) {
  const int c = first_column<kN>();
  if (c >= rows.F) return;
  float gate_bias[kN] = {}, up_bias[kN] = {};
  if (bias) {
    load(gate_bias, bias + c);
    load(up_bias, bias + rows.F + c);
  }
  for (std::int64_t row = first_row(); row < rows.count; row += gridDim.y * kWarps) {
    float gate[kN], up[kN];
    load(gate, x + row * 2 * rows.F + c);
    load(up, x + (row * 2 + 1) * rows.F + c);
#pragma unroll
    for (int i = 0; i < kN; ++i)
      gate[i] = Kind::value(gate[i] + gate_bias[i]) * (up[i] + up_bias[i]);
    store(y + row * rows.F + c, gate);
  }
}

template <int kN>
__device__ __forceinline__ void add_run(float (&x)[kN], const float* p) {
  float y[kN];
  load(y, p);
#pragma unroll
  for (int i = 0; i < kN; ++i) x[i] += y[i];
}

// partial[c] <- Σ over the block's warps of their sums of its 32·kN columns, in order. `shared` is
// (kWarps, 32·kN); all threads call.
template <int kN>
__device__ __forceinline__ void add_warps(float* partial, const float (&sum)[kN], int F,
                                          float* shared) {
  static_assert(kN <= kWarps);  // a thread a column
  const int thread = static_cast<int>(threadIdx.x),
            c = static_cast<int>(blockIdx.x) * 32 * kN + thread;
  store(shared + thread * kN, sum);
  __syncthreads();
  if (thread < 32 * kN && c < F) {
    float total = 0;
    for (int w = 0; w < kWarps; ++w) total += shared[w * 32 * kN + thread];
    partial[c] = total;
  }
  __syncthreads();
}

// partial: (gridDim.y, F), or null.
template <class T, int kN, class Kind>
__global__ void __launch_bounds__(32 * kWarps)
    activation_backward_kernel(T* dx, float* partial, const T* dy, const T* x, const float* bias,
                               Rows rows) {
  const int c = first_column<kN>();
  float b[kN] = {}, dbias[kN] = {};
  if (c < rows.F) {
    if (bias) load(b, bias + c);
    for (std::int64_t row = first_row(); row < rows.count; row += gridDim.y * kWarps) {
      float v[kN], d[kN];
      load(v, x + row * rows.F + c);
      load(d, dy + row * rows.F + c);
#pragma unroll
      for (int i = 0; i < kN; ++i) {
        d[i] *= Kind::slope(v[i] + b[i]);
        dbias[i] += d[i];
      }
      store(dx + row * rows.F + c, d);
    }
  }
  if (partial)
    add_warps(partial + static_cast<std::int64_t>(blockIdx.y) * rows.F, dbias, rows.F,
              shared_memory<float>());
}

// partial: (gridDim.y, 2F), or null. Biases are loaded for each row (from L1): kept, they would
// cost half of the occupancy.
template <class T, int kN, class Kind>
__global__ void __launch_bounds__(32 * kWarps, 4)
    gated_activation_backward_kernel(T* dx, float* partial, const T* dy, const T* x,
                                     const float* bias, Rows rows) {
  const int c = first_column<kN>();
  float gate_sum[kN] = {}, up_sum[kN] = {};
  if (c < rows.F) {
    for (std::int64_t row = first_row(); row < rows.count; row += gridDim.y * kWarps) {
      const std::int64_t at_gate = row * 2 * rows.F + c, at_up = at_gate + rows.F;
      float gate[kN], up[kN], d[kN];
      load(gate, x + at_gate);
      load(up, x + at_up);
      load(d, dy + row * rows.F + c);
      if (bias) {
        add_run(gate, bias + c);
        add_run(up, bias + rows.F + c);
      }
#pragma unroll
      for (int i = 0; i < kN; ++i) {
        const float d_gate = Kind::slope(gate[i]) * up[i] * d[i];
        up[i] = Kind::value(gate[i]) * d[i];
        gate[i] = d_gate;
        gate_sum[i] += gate[i];
        up_sum[i] += up[i];
      }
      store(dx + at_gate, gate);
      store(dx + at_up, up);
    }
  }
  if (partial) {
    partial += static_cast<std::int64_t>(blockIdx.y) * 2 * rows.F;
    add_warps(partial, gate_sum, rows.F, shared_memory<float>());
    add_warps(partial + rows.F, up_sum, rows.F, shared_memory<float>());
  }
}

namespace {

template <class F>
void for_kind(Activation kind, const F& f) {
  switch (kind) {
    case Activation::gelu_tanh:
      return f(GeluTanh());
    case Activation::gelu_erf:
      return f(GeluErf());
    case Activation::silu:
      return f(Silu());
    case Activation::relu:
      return f(Relu());
    case Activation::tanh:
      return f(Tanh());
  }
}

// f(an activation, a kind, elements at a time) for the instantiation to launch.
template <class F>
void for_kernel(DType act, Activation kind, bool packed, const F& f) {
  for_act(act, [&](auto zero) {
    for_kind(kind, [&](auto k) {
      for_pack<kRun<decltype(zero)>>(packed, [&](auto n) { f(zero, k, n); });
    });
  });
}

// Groups of rows, a block each: they depend on N alone, as the sums over them do. Large N: 64 rows
// or more a group.
std::int64_t row_groups(std::int64_t N, bool sums) {
  return sums ? std::clamp<std::int64_t>(ceil_div(N, 64), 1, 256)
              : std::min<std::int64_t>(ceil_div(N, 4 * kWarps), 65535);
}

LaunchShape grid(std::int64_t F, std::int64_t groups, int n, bool sums) {
  return {{n_blocks(ceil_div(F, 32 * n)), static_cast<unsigned>(groups)},
          {32 * kWarps},
          sums ? static_cast<std::size_t>(32 * kWarps * n) * sizeof(float) : 0};
}

float* partial_sums(View dbias, std::int64_t N, Stream& stream) {
  if (dbias.empty()) return nullptr;
  return static_cast<float*>(stream.scratch(activation_backward_scratch_bytes(N, dbias.elems())));
}

constexpr double kForwardFlops = 10,
                 kBackwardFlops = 20;  // of an element, about: an exponential is taken as 4

}  // namespace

std::size_t activation_backward_scratch_bytes(std::int64_t N, std::int64_t bias_elems) {
  return static_cast<std::size_t>(row_groups(N, true) * bias_elems) * sizeof(float);
}

void activation(View y, ConstView x, ConstView bias, Activation kind, Stream& stream) {
  const auto [N, F] = x.dims<2>();
  const Work work = {2.0 * static_cast<double>(x.bytes()) + static_cast<double>(bias.bytes()),
                     kForwardFlops * static_cast<double>(x.elems())};
  for_kernel(x.dtype(), kind, packs(F, y.data(), x.data(), bias.data()),
             [&, N = N, F = F](auto zero, auto k, auto n) {
               using Act = decltype(zero);
               launch(activation_kernel<Act, n(), decltype(k)>,
                      grid(F, row_groups(N, false), n, false), work, stream, pointer<Act>(y),
                      pointer<Act>(x), pointer<float>(bias), Rows{N, as_int(F)});
             });
}

void activation_backward(View dx, Gradient dbias, ConstView dy, ConstView x, ConstView bias,
                         Activation kind, Stream& stream) {
  const auto [N, F] = x.dims<2>();
  const bool sums = !dbias.empty();
  const std::int64_t groups = row_groups(N, sums);
  float* partial = partial_sums(dbias.sum, N, stream);
  const Work work = {3.0 * static_cast<double>(x.bytes()) + static_cast<double>(bias.bytes()) +
                         static_cast<double>(groups) * static_cast<double>(dbias.sum.bytes()),
                     kBackwardFlops * static_cast<double>(x.elems())};
  for_kernel(x.dtype(), kind, packs(F, dx.data(), dy.data(), x.data(), bias.data()),
             [&, N = N, F = F](auto zero, auto k, auto n) {
               using Act = decltype(zero);
               launch(activation_backward_kernel<Act, n(), decltype(k)>, grid(F, groups, n, sums),
                      work, stream, pointer<Act>(dx), partial, pointer<Act>(dy), pointer<Act>(x),
                      pointer<float>(bias), Rows{N, as_int(F)});
             });
  if (sums) add_column_sums(dbias, {}, partial, groups, F, stream);
}

void gated_activation(View y, ConstView x, ConstView bias, Activation kind, Stream& stream) {
  const auto [N, F] = y.dims<2>();
  const Work work = {1.5 * static_cast<double>(x.bytes()) + static_cast<double>(bias.bytes()),
                     kForwardFlops * static_cast<double>(y.elems())};
  for_kernel(x.dtype(), kind, packs(F, y.data(), x.data(), bias.data()),
             [&, N = N, F = F](auto zero, auto k, auto n) {
               using Act = decltype(zero);
               launch(gated_activation_kernel<Act, n(), decltype(k)>,
                      grid(F, row_groups(N, false), n, false), work, stream, pointer<Act>(y),
                      pointer<Act>(x), pointer<float>(bias), Rows{N, as_int(F)});
             });
}

void gated_activation_backward(View dx, Gradient dbias, ConstView dy, ConstView x, ConstView bias,
                               Activation kind, Stream& stream) {
  const auto [N, F] = dy.dims<2>();
  const bool sums = !dbias.empty();
  const std::int64_t groups = row_groups(N, sums);
  float* partial = partial_sums(dbias.sum, N, stream);
  const Work work = {2.5 * static_cast<double>(x.bytes()) + static_cast<double>(bias.bytes()) +
                         static_cast<double>(groups) * static_cast<double>(dbias.sum.bytes()),
                     kBackwardFlops * static_cast<double>(dy.elems())};
  for_kernel(x.dtype(), kind, packs(F, dx.data(), dy.data(), x.data(), bias.data()),
             [&, N = N, F = F](auto zero, auto k, auto n) {
               using Act = decltype(zero);
               launch(gated_activation_backward_kernel<Act, n(), decltype(k)>,
                      grid(F, groups, n, sums), work, stream, pointer<Act>(dx), partial,
                      pointer<Act>(dy), pointer<Act>(x), pointer<float>(bias), Rows{N, as_int(F)});
             });
  if (sums) add_column_sums(dbias, {}, partial, groups, 2 * F, stream);
}

}  // namespace weft::cuda
