#include "kernels/scratch.h"

namespace weft {
namespace {

bool on_cpu(const ScratchPlace& place) { return place.device.type == DeviceType::cpu; }

}  // namespace

std::size_t linear_scratch_bytes(const LinearSizes& sizes, const ScratchPlace& place) {
  return on_cpu(place) ? cpu::linear_scratch_bytes(sizes, place.n_threads)
                       : cuda_linear_scratch_bytes(sizes);
}

std::size_t head_norm_scratch_bytes(std::int64_t N, std::int64_t n_heads, std::int64_t head_dim,
                                    const ScratchPlace& place) {
  return on_cpu(place) ? cpu::head_norm_scratch_bytes(N, n_heads, head_dim) : 0;
}

std::size_t attention_scratch_bytes(std::int64_t head_dim, const ScratchPlace& place) {
  return on_cpu(place) ? cpu::attention_scratch_bytes(head_dim, place.n_threads) : 0;
}

std::size_t attention_cached_scratch_bytes(const CachedAttentionSizes& sizes,
                                           const AttentionArgs& args, const ScratchPlace& place) {
  return on_cpu(place) ? cpu::attention_cached_scratch_bytes(args.head_dim, place.n_threads)
                       : cuda_attention_cached_scratch_bytes(sizes, args);
}

std::size_t sample_scratch_bytes(std::int64_t N, std::int64_t V, const ScratchPlace& place) {
  return on_cpu(place) ? cpu::sample_scratch_bytes(N, V, place.n_threads) : 0;
}

std::size_t backward_scratch_bytes(const BackwardSizes& sizes, Device device) {
  return device.type == DeviceType::cpu ? 0 : cuda_backward_scratch_bytes(sizes);
}

std::size_t op_workspace_bytes(Device device, std::int64_t n_tensors) {
  return device.type == DeviceType::cpu ? 0 : cuda_workspace_bytes(n_tensors) + kCudaReserve;
}

}  // namespace weft
