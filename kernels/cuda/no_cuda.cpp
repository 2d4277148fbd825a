// The GPU back end of a CPU-only build.
#include "core/check.h"
#include "kernels/backends.h"
#include "kernels/scratch.h"

namespace weft {

const Backend& cuda_backend() {
  user_error("--device cuda: this weft was built without CUDA (WEFT_CUDA=OFF); allowed here: cpu");
}

bool cuda_available() { return false; }
std::string cuda_missing_library() { return ""; }
bool cuda_takes_head_dim(std::int64_t) { return false; }
std::size_t cuda_linear_scratch_bytes(const LinearSizes&) { return 0; }
std::size_t cuda_attention_cached_scratch_bytes(const CachedAttentionSizes&, const AttentionArgs&) {
  return 0;
}
std::size_t cuda_backward_scratch_bytes(const BackwardSizes&) { return 0; }
std::size_t cuda_workspace_bytes(std::int64_t) { return 0; }

}  // namespace weft
