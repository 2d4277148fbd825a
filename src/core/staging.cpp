#include "core/staging.h"

#include <algorithm>
#include <cstring>

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

namespace {

void wait_for(const std::unique_ptr<Event>& event) {
  if (!event) return;
  Stream host;
  event->wait(host);
}

void record(std::unique_ptr<Event>& event, Stream& stream) {
  if (!event) event = std::make_unique<Event>(stream.device());
  event->record(stream);
}

}  // namespace

void Staging::wait() { wait_for(uploaded_); }

void Staging::upload(Stream& stream) {
  if (parts_.empty()) return;
  if (copies_.empty()) {
    for (const Part& p : parts_) copy_bytes(p.device, p.host, p.bytes, stream);
    record(uploaded_, stream);
    return;
  }
  Copy& copy = copies_[next_copy_++ % copies_.size()];
  wait_for(copy.uploaded);
  std::byte* host = copy.host.get();
  for (const Part& p : parts_) {
    std::memcpy(host, p.host, p.bytes);
    copy_bytes(p.device, host, p.bytes, stream);
    host += p.bytes;
  }
  record(copy.uploaded, stream);
}

void Staging::upload_copies(Device device, int n) {
  copies_.clear();
  if (device.type == DeviceType::cpu) return;
  for (int i = 0; i < n; ++i)
    copies_.push_back(
        {std::static_pointer_cast<std::byte>(allocate_host(device, laid_out_)), nullptr});
}

void Staging::clear() {
  wait();
  for (const Copy& copy : copies_) wait_for(copy.uploaded);
  copies_.clear();
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
