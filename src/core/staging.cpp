#include "core/staging.h"

#include <algorithm>

namespace weft {

Staged Staging::alloc(Arena& arena, DType dtype, const Dims& dims) {
  const View device = arena.alloc(dtype, dims);
  const std::size_t bytes = (device.bytes() + 63) / 64 * 64;
  laid_out_ += bytes;
  if (arena.measuring() || arena.device().type == DeviceType::cpu) return {device, device};
  if (used_ + bytes > capacity_) {
    if (host_) outgrown_.push_back(std::move(host_));
    capacity_ = std::max(2 * capacity_, std::max<std::size_t>(bytes, 4096));
    host_ = std::static_pointer_cast<std::byte>(allocate_host(arena.device(), capacity_));
    used_ = 0;
  }
  std::byte* host = host_.get() + used_;
  used_ += bytes;
  auto* to = static_cast<std::byte*>(device.data());
  Part* last = parts_.empty() ? nullptr : &parts_.back();
  if (last && last->device + last->bytes == to && last->host + last->bytes == host)
    last->bytes += bytes;
  else
    parts_.push_back({to, host, bytes});
  return {View(host, dtype, dims), device};
}

void Staging::wait() {
  if (!uploaded_) return;
  Stream host;
  uploaded_->wait(host);
}

void Staging::upload(Stream& stream) {
  if (parts_.empty()) return;
  for (const Part& p : parts_) copy_bytes(p.device, p.host, p.bytes, stream);
  if (!uploaded_) uploaded_ = std::make_unique<Event>(stream.device());
  uploaded_->record(stream);
}

void Staging::clear() {
  wait();
  parts_.clear();
  outgrown_.clear();
  used_ = laid_out_ = 0;
}

void Staging::reserve(Device device, std::size_t bytes) {
  CHECK(parts_.empty(), "room for {} staged bytes is asked for when some are laid out", bytes);
  if (device.type == DeviceType::cpu || bytes <= capacity_) return;
  clear();
  host_ = std::static_pointer_cast<std::byte>(allocate_host(device, bytes));
  capacity_ = bytes;
}

}  // namespace weft
