#include "core/check.h"
#include "core/gpu.h"

namespace weft::gpu {
namespace {

constexpr const char* kAbsence = "this weft was built without CUDA (WEFT_CUDA=OFF)";

[[noreturn]] void absent() { user_error("--device cuda: {}; allowed here: cpu", kAbsence); }

}  // namespace

int count() { return 0; }
bool is_built_in() { return false; }
std::string absence() { return kAbsence; }
int make_current(int) { absent(); }
void restore_current(int) noexcept {}
std::int64_t free_bytes(int) { absent(); }
std::string bus_id(int) { absent(); }
std::shared_ptr<void> make_stream(int) { absent(); }
void synchronize(void*) { absent(); }
std::shared_ptr<void> make_event(int, bool) { absent(); }
void record(void*, void*) { absent(); }
void wait(void*, void*) { absent(); }
void synchronize_event(void*) { absent(); }
double seconds_between(void*, void*) { absent(); }
bool has_passed(void*) { absent(); }
void begin_capture(void*) { absent(); }
std::shared_ptr<void> end_capture(void*, int) { absent(); }
void drop_capture(void*) noexcept {}
void launch_graph(void*, void*) { absent(); }
std::shared_ptr<void> allocate(int, std::size_t, const std::string&) { absent(); }
std::shared_ptr<void> allocate_host(int, std::size_t) { absent(); }
void zero(void*, std::size_t, int) { absent(); }
void copy(void*, const void*, std::size_t, void*) { absent(); }
void start_copy(void*, const void*, std::size_t, void*) { absent(); }
void enter_range(const char*) {}
void leave_range() {}

}  // namespace weft::gpu
