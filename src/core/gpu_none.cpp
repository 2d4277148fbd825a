#include "core/check.h"
#include "core/gpu.h"

namespace weft::gpu {
namespace {

[[noreturn]] void absent() {
  user_error("--device cuda: this weft was built without CUDA (WEFT_CUDA=OFF); allowed here: cpu");
}

}  // namespace

int count() { return 0; }
std::shared_ptr<void> make_stream(int) { absent(); }
void synchronize(void*) { absent(); }
std::shared_ptr<void> make_event(int) { absent(); }
void record(void*, void*) { absent(); }
void wait(void*, void*) { absent(); }
void synchronize_event(void*) { absent(); }
std::shared_ptr<void> allocate(int, std::size_t) { absent(); }
void copy(void*, const void*, std::size_t, void*) { absent(); }

}  // namespace weft::gpu
