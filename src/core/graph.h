// Work that a stream was given once, kept to be launched again and again as one: a step of many
// short kernels costs the host one call.
#pragma once

#include <functional>
#include <memory>

#include "core/device.h"

namespace weft {

// What may be captured waits for nothing, allocates nothing and copies from and to pinned host
// memory only, which is read and written at each launch; all else is as it was when captured.
class Graph {
 public:
  static bool available(Device device) { return device.type == DeviceType::cuda; }

  bool empty() const { return graph_ == nullptr; }
  // Keeps what `work` gives to `stream`, and to streams that wait for its events and for which it
  // waits in the end, without running it; in place of what was kept before. Where there are no
  // graphs nothing happens, and this one stays empty: callers give their work to the stream.
  void capture(Stream& stream, const std::function<void()>& work);
  void launch(Stream& stream);  // enqueued, on the device of the capture
  void clear() { graph_.reset(); }

 private:
  Device device_;
  std::shared_ptr<void> graph_;
};

}  // namespace weft
