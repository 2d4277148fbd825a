#include "core/host_copy.h"

#include <algorithm>
#include <cstring>

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

namespace {

// Two pieces that a stream has under way.
struct Pieces {
  struct Piece {
    std::shared_ptr<void> memory;
    std::unique_ptr<Event> copied;  // the last copy from or to it
  };
  Piece two[2];

  // One that no copy reads or writes any more.
  Piece& idle(std::int64_t i, Stream& stream) {
    Piece& p = two[i % 2];
    if (!p.memory) p.memory = allocate_host(stream.device(), kPieceBytes);
    if (!p.copied) p.copied = std::make_unique<Event>(stream.device());
    wait(p);
    return p;
  }
  static void wait(const Piece& p) {
    Stream host;
    p.copied->wait(host);
  }
};

std::int64_t elems_of_piece(DType dtype) {
  return static_cast<std::int64_t>(kPieceBytes / dtype_bytes(dtype));
}

}  // namespace

void read_pieces(ConstView x, Stream& stream,
                 const std::function<void(std::int64_t begin, ConstView piece)>& use) {
  const std::int64_t all = x.elems();
  if (all == 0) return;
  const ConstView flat = x.reshape({all});
  if (x.device().type == DeviceType::cpu) return use(0, flat);
  auto& pieces = stream.attached<Pieces>();
  const std::int64_t n = elems_of_piece(x.dtype()), count = (all + n - 1) / n;
  const auto part = [&](std::int64_t i) { return flat.rows(i * n, std::min(all, (i + 1) * n)); };
  const auto start = [&](std::int64_t i) {
    Pieces::Piece& p = pieces.idle(i, stream);
    gpu::start_copy(p.memory.get(), part(i).data(), part(i).bytes(), stream.native());
    p.copied->record(stream);
  };
  start(0);
  for (std::int64_t i = 0; i < count; ++i) {
    if (i + 1 < count) start(i + 1);
    const Pieces::Piece& p = pieces.two[i % 2];
    Pieces::wait(p);
    use(i * n, ConstView(p.memory.get(), x.dtype(), part(i).shape()));
  }
}

void write_pieces(View x, Stream& stream,
                  const std::function<void(std::int64_t begin, View piece)>& fill) {
  const std::int64_t all = x.elems();
  if (all == 0) return;
  const View flat = x.reshape({all});
  if (x.device().type == DeviceType::cpu) return fill(0, flat);
  auto& pieces = stream.attached<Pieces>();
  const std::int64_t n = elems_of_piece(x.dtype());
  for (std::int64_t begin = 0; begin < all; begin += n) {
    const View to = flat.rows(begin, std::min(all, begin + n));
    Pieces::Piece& p = pieces.idle(begin / n, stream);
    fill(begin, View(p.memory.get(), x.dtype(), to.shape()));
    gpu::start_copy(to.data(), p.memory.get(), to.bytes(), stream.native());
    p.copied->record(stream);
  }
}

HostWrite::HostWrite(View x) : x_(x), host_(x) {
  if (x.device().type == DeviceType::cpu) return;
  memory_ = allocate({}, x.bytes());
  host_ = View(memory_.get(), x.dtype(), x.shape());
}

void HostWrite::finish(Stream& stream) {
  if (!memory_) return;
  write_pieces(x_, stream, [&](std::int64_t begin, View piece) {
    std::memcpy(piece.data(),
                static_cast<const std::byte*>(host_.data()) +
                    static_cast<std::size_t>(begin) * dtype_bytes(x_.dtype()),
                piece.bytes());
  });
}

}  // namespace weft
