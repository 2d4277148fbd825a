#include "kernels/cuda/column_sum.cuh"

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/instructions.cuh"
#include "kernels/cuda/launch.cuh"

namespace weft::cuda {

constexpr int kSlices = 16;  // of the groups, one a warp

// A block sums 32 columns: warp w takes groups w, w + 16, …; then the 16 sums are added in order.
__global__ void __launch_bounds__(32 * kSlices)
    column_sum_kernel(float* first, float* second, bool adds_first, bool adds_second,
                      const float* partial, std::int64_t groups, std::int64_t columns) {
  float* sums = shared_memory<float>();  // (kSlices, 32)
  const int lane = static_cast<int>(threadIdx.x) % 32, slice = static_cast<int>(threadIdx.x) / 32;
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * 32 + lane;
  const std::int64_t pitch = columns * gridDim.y;
  const float* column = partial + static_cast<std::int64_t>(blockIdx.y) * columns + c;
  float sum = 0;
  if (c < columns)
    for (std::int64_t g = slice; g < groups; g += kSlices) sum += column[g * pitch];
  sums[slice * 32 + lane] = sum;
  __syncthreads();
  if (slice > 0 || c >= columns) return;
  for (int s = 1; s < kSlices; ++s) sum += sums[s * 32 + lane];
  float* out = blockIdx.y == 0 ? first : second;
  out[c] = (blockIdx.y == 0 ? adds_first : adds_second) ? out[c] + sum : sum;
}

void add_column_sums(const Gradient& first, const Gradient& second, const float* partial,
                     std::int64_t groups, std::int64_t columns, Stream& stream) {
  const int outputs = second.empty() ? 1 : 2,
            read = first.accumulate + (outputs == 2 && second.accumulate);
  const auto elems = static_cast<double>(outputs * columns);
  const LaunchShape shape = {{n_blocks(ceil_div(columns, 32)), static_cast<unsigned>(outputs)},
                             {32 * kSlices},
                             32 * kSlices * sizeof(float)};
  const auto n = static_cast<double>(groups);
  launch(column_sum_kernel, shape,
         {4 * elems * (n + 1) + 4.0 * static_cast<double>(read * columns), elems * n}, stream,
         pointer<float>(first.sum), pointer<float>(second.sum), first.accumulate, second.accumulate,
         partial, groups, columns);
}

}  // namespace weft::cuda
