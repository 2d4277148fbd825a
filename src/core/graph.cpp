#include "core/graph.h"

#include "core/check.h"
#include "core/gpu.h"

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

}  // namespace weft
