#include "core/graph.h"

#include <algorithm>

#include "core/check.h"
#include "core/gpu.h"
#include "core/log.h"

namespace weft {

void Graph::capture(Stream& stream, const std::function<void()>& work) {
  clear();
  if (!available(stream.device())) return;
  device_ = stream.device();
  gpu::begin_capture(stream.native());
  try {
    work();
  } catch (...) {
    gpu::drop_capture(stream.native());
    throw;
  }
  graph_ = gpu::end_capture(stream.native(), device_.index);
}

void Graph::launch(Stream& stream) {
  CHECK(!empty(), "a graph is launched that nothing was captured in");
  CHECK(stream.device() == device_, "a graph is launched on another device than its own");
  gpu::launch_graph(graph_.get(), stream.native());
}

std::size_t GraphCache::most_bytes(std::int64_t n_pieces, Device device) {
  return Graph::available(device) ? kMost * static_cast<std::size_t>(n_pieces) * Graph::kPieceBytes
                                  : 0;
}

void GraphCache::run(const Key& key, Stream& stream, const std::function<void()>& work) {
  // A graph has the address of scratch in it, which is another when it has grown.
  if (stream.scratch_bytes() != scratch_bytes_) {
    entries_.clear();
    scratch_bytes_ = stream.scratch_bytes();
  }
  const auto [found, first] = entries_.try_emplace(key);
  Entry& entry = found->second;
  entry.asked = ++n_asked_;
  if (first) {
    if (entries_.size() > kMost)
      entries_.erase(std::min_element(
          entries_.begin(), entries_.end(),
          [](const auto& a, const auto& b) { return a.second.asked < b.second.asked; }));
    return work();
  }
  if (entry.graph.empty()) {
    if (!full_) entry.graph.capture(stream, work);
    if (entry.graph.empty()) {
      if (!full_ && Graph::available(stream.device()))
        log_warning("GPU {} has no memory left for a graph: its kernels are launched one by one",
                    stream.device().index);
      full_ = true;
      return work();
    }
    ++counts_.captures;
  }
  entry.graph.launch(stream);
  ++counts_.launches;
}

}  // namespace weft
