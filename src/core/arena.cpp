#include "core/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace weft {
namespace {

// Pages that cost nothing until they are touched.
std::shared_ptr<std::byte> map_pages(const std::string& name, std::size_t bytes) {
  const std::size_t mapped = std::max<std::size_t>(bytes, 64);
  void* memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK_MACHINE(memory != MAP_FAILED,
                "the {} take {} bytes, more than the system gives this process ({})", name, bytes,
                std::strerror(errno));
  madvise(memory, mapped, MADV_HUGEPAGE);
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory),
                                    [mapped](std::byte* p) { munmap(p, mapped); });
}

}  // namespace

Arena::Arena(std::string name, std::size_t bytes, Device device)
    : name_(std::move(name)), device_(device), capacity_(bytes) {
  base_ = device.type == DeviceType::cpu ? map_pages(name_, bytes)
                                         : std::static_pointer_cast<std::byte>(allocate_zeroed(
                                               device, std::max<std::size_t>(bytes, 64), name_));
}

View Arena::alloc(DType dtype, const Dims& dims) {
  const std::size_t bytes =
      (static_cast<std::size_t>(dims.elems()) * dtype_bytes(dtype) + 63) / 64 * 64;
  const std::size_t begin = used_;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  if (measuring()) return View(reinterpret_cast<void*>(begin + 64), dtype, dims, device_);
  CHECK(used_ <= capacity_, "the {} arena was planned with {} bytes and needs {}", name_, capacity_,
        used_);
  return View(base_.get() + begin, dtype, dims, device_);
}

}  // namespace weft
