#include "core/host_copy.h"

#include "core/check.h"
#include "core/gpu.h"

namespace weft {

ConstView HostCopy::of(ConstView x, Stream& stream) {
  if (x.empty() || x.device().type == DeviceType::cpu) return x;
  reserve(x.device(), x.bytes());
  copy_bytes(memory_.get(), x.data(), x.bytes(), stream);
  return ConstView(memory_.get(), x.dtype(), x.shape());
}

ConstView HostCopy::floats(ConstView x, Stream& stream) {
  const ConstView copy = of(x, stream);
  if (x.empty() || x.dtype() == DType::f32) return copy;
  CHECK(x.dtype() == DType::bf16, "{} is read as fp32", dtype_name(x.dtype()));
  const auto* bits = copy.as<BFloat16>();
  widened_.resize(static_cast<std::size_t>(x.elems()));
  for (std::size_t i = 0; i < widened_.size(); ++i) widened_[i] = to_float(bits[i]);
  return ConstView(widened_.data(), x.shape());
}

void HostCopy::reserve(Device device, std::size_t bytes) {
  if (device.type == DeviceType::cpu || bytes <= capacity_) return;
  memory_.reset();
  memory_ = allocate_host(device, bytes);
  capacity_ = bytes;
}

void HostCopy::start(ConstView x, Stream& stream) {
  started_ = x;
  if (x.empty() || x.device().type == DeviceType::cpu) return;
  reserve(x.device(), x.bytes());
  started_ = ConstView(memory_.get(), x.dtype(), x.shape());
  gpu::start_copy(memory_.get(), x.data(), x.bytes(), stream.native());
  if (!copied_) copied_ = std::make_unique<Event>(x.device());
  copied_->record(stream);
}

ConstView HostCopy::finish() {
  if (copied_) {
    Stream host;
    copied_->wait(host);
  }
  return started_;
}

HostWrite::HostWrite(View x) : x_(x), host_(x) {
  if (x.device().type == DeviceType::cpu) return;
  memory_ = allocate({}, x.bytes());
  host_ = View(memory_.get(), x.dtype(), x.shape());
}

void HostWrite::finish(Stream& stream) {
  if (memory_) copy_bytes(x_.data(), host_.data(), x_.bytes(), stream);
}

}  // namespace weft
