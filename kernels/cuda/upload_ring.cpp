#include "kernels/cuda/upload_ring.h"

#include <algorithm>
#include <cstring>

namespace weft::cuda {
namespace {

constexpr std::size_t kFirstHalf = 256 << 10;  // a step's or a pass's tables, many times over

std::shared_ptr<std::byte> as_bytes(std::shared_ptr<void> memory) {
  return std::static_pointer_cast<std::byte>(std::move(memory));
}

}  // namespace

std::size_t UploadRing::most_bytes(std::size_t largest_upload) {
  return largest_upload <= kFirstHalf ? 2 * kFirstHalf : 8 * ((largest_upload + 63) / 64 * 64);
}

void UploadRing::grow(std::size_t half_bytes, Stream& stream) {
  stream.synchronize();  // nothing of the old ring is read any more
  half_bytes_ = half_bytes;
  host_ = as_bytes(allocate_host(stream.device(), 2 * half_bytes));
  device_ = as_bytes(allocate(stream.device(), 2 * half_bytes));
  for (auto& left : left_) left.reset();
  used_ = 0;
  half_ = 0;
}

const void* UploadRing::upload(const void* from, std::size_t bytes, Stream& stream) {
  const std::size_t room = (bytes + 63) / 64 * 64;
  if (room > half_bytes_) grow(std::max({kFirstHalf, 2 * half_bytes_, room}), stream);
  if (used_ + room > half_bytes_) {
    left_[half_].emplace(stream.device()).record(stream);
    half_ = 1 - half_;
    used_ = 0;
    Stream host;
    if (left_[half_]) left_[half_]->wait(host);
  }
  const std::size_t at = static_cast<std::size_t>(half_) * half_bytes_ + used_;
  used_ += room;
  std::memcpy(host_.get() + at, from, bytes);
  copy_bytes(device_.get() + at, host_.get() + at, bytes, stream);
  return device_.get() + at;
}

}  // namespace weft::cuda
