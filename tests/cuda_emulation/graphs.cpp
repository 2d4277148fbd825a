// Stream capture and graphs. A captured stream's work is kept as it was given, with the events
// between its streams, and a launch runs it as one piece of work of another stream. What it
// touches must then still be there, and what a GPU would not keep is refused.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "device_memory.h"
#include "executor.h"
#include "pinned.h"
#include "streams.h"

namespace weft::emulation {
namespace {

struct Graph {
  int device = 0;
  std::size_t n_branches = 0, n_marks = 0;
  std::vector<Step> steps;
};

struct GraphExec {
  std::shared_ptr<const Graph> graph;
  std::vector<int> agents;  // of its branches
  Clock clock;              // of its last launch: two do not overlap
  std::int64_t bytes = 0;   // of the GPU
};
// What a piece of a graph takes of its GPU here; what it takes of a real one no document tells.
constexpr std::int64_t kPieceBytes = 4 << 10;

// Calls give(item step, branch's clock, which it moves on) for the work of a graph, in an order
// that its events allow; returns what the end of `origin` has seen.
template <class F>
std::vector<Clock> walk(const std::vector<Step>& steps, std::size_t n_branches, std::size_t n_marks,
                        const Clock& before, F give) {
  std::vector<Clock> branches(n_branches, before), marks(n_marks);
  for (const Step& step : steps) {
    Clock& clock = branches[step.branch];
    if (step.kind == Step::Kind::record)
      marks[step.mark] = clock;
    else if (step.kind == Step::Kind::wait)
      join(clock, marks[step.mark]);
    else
      give(step, clock);
  }
  return branches;
}

// Whether the origin waits in the end for all that the other branches were given.
bool is_joined(const Capture& capture) {
  std::vector<std::uint64_t> given(capture.branches.size());
  const auto ends = walk(capture.steps, capture.branches.size(), capture.n_marks, Clock(),
                         [&](const Step& step, Clock& clock) {
                           if (clock.size() < given.size()) clock.resize(given.size());
                           clock[step.branch] = ++given[step.branch];
                         });
  for (std::size_t b = 0; b < given.size(); ++b)
    if (given[b] > 0 && (ends[0].size() <= b || ends[0][b] < given[b])) return false;
  return true;
}

std::uint64_t serial_of(const Range& range) {
  const MemoryBlock* block = memory_block(reinterpret_cast<const void*>(range.begin));
  return block ? block->serial : 0;
}

// A step of a launch.
struct Node {
  const Item* item;
  Stamp stamp;
  Clock clock;
};

}  // namespace

bool refused_in_capture(const char* call) {
  for (const auto& capture : runtime().captures) {
    if (capture->owner != std::this_thread::get_id()) continue;
    failed(fmt::format("{} while {} is captured for a graph: it would not happen at a launch", call,
                       named(*capture->origin)),
           cudaErrorStreamCaptureUnsupported);
    return true;
  }
  return false;
}

void capture_item(Queue& queue, Item item) {
  if (item.refused) {
    failed(fmt::format("{} while it is captured for a graph: {}",
                       named(Stamp{.name = item.name,
                                   .kernel = item.kernel,
                                   .stream = queue.number,
                                   .device = queue.device}),
                       item.refused),
           cudaErrorStreamCaptureUnsupported);
    return;
  }
  Step step{Step::Kind::work, queue.branch, 0, std::move(item), {}};
  for (const Range& range : step.item.touches) step.serials.push_back(serial_of(range));
  queue.capture->steps.push_back(std::move(step));
}

}  // namespace weft::emulation

using namespace weft::emulation;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Turn turn;
  const auto queue = queue_of(stream);
  if (!queue)
    return failed("capturing the default stream or one that does not exist",
                  cudaErrorInvalidResourceHandle);
  if (queue->capture) return failed(named(*queue) + " is captured already", cudaErrorIllegalState);
  auto capture = std::make_shared<Capture>();
  capture->owner = std::this_thread::get_id();
  capture->origin = queue.get();
  capture->branches = {queue};
  queue->capture = capture;
  queue->branch = 0;
  runtime().captures.push_back(std::move(capture));
  return runtime().error;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Turn turn;
  *graph = nullptr;
  const auto queue = queue_of(stream);
  if (!queue || !queue->capture || queue->capture->origin != queue.get())
    return failed("the end of a capture that did not begin there", cudaErrorIllegalState);
  const std::shared_ptr<Capture> capture = queue->capture;
  for (const auto& branch : capture->branches) branch->capture.reset();
  std::erase(runtime().captures, capture);
  if (runtime().error == cudaSuccess && !is_joined(*capture))
    failed(named(*queue) + "'s capture ends, but does not wait for another stream that it captured",
           cudaErrorStreamCaptureUnjoined);
  if (runtime().error != cudaSuccess) return runtime().error;
  *graph = reinterpret_cast<cudaGraph_t>(
      new Graph{queue->device, capture->branches.size(), capture->n_marks, capture->steps});
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  const Turn turn;
  auto made = std::make_unique<GraphExec>();
  made->graph = std::make_shared<const Graph>(*reinterpret_cast<const Graph*>(graph));
  made->bytes = kPieceBytes * static_cast<std::int64_t>(made->graph->steps.size());
  if (!charge(made->graph->device, made->bytes)) return cudaErrorMemoryAllocation;
  for (std::size_t b = 0; b < made->graph->n_branches; ++b) made->agents.push_back(make_agent());
  *exec = reinterpret_cast<cudaGraphExec_t>(made.release());
  return runtime().error;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Turn turn;
  const auto queue = queue_of(stream);
  if (!queue)
    return failed("a graph on the default stream or on one that does not exist",
                  cudaErrorInvalidResourceHandle);
  if (refused_in_capture("a graph's launch")) return runtime().error;
  if (runtime().error != cudaSuccess) return runtime().error;
  GraphExec& e = *reinterpret_cast<GraphExec*>(exec);
  if (queue->device != e.graph->device)
    return failed("a graph of another GPU on " + named(*queue), cudaErrorInvalidResourceHandle);
  join(queue->clock, runtime().host);
  join(queue->clock, e.clock);
  const auto nodes = std::make_shared<std::vector<Node>>();
  try {
    const auto ends = walk(
        e.graph->steps, e.graph->n_branches, e.graph->n_marks, queue->clock,
        [&](const Step& step, Clock& clock) {
          const Item& item = step.item;
          const Stamp stamp = next_stamp(item, e.agents[step.branch], *queue, clock);
          for (std::size_t i = 0; i < item.touches.size(); ++i) {
            const Range& range = item.touches[i];
            if (serial_of(range) != step.serials[i])
              throw Fault("a graph is launched after memory was freed that it touches: " +
                          named(stamp));
            const MemoryBlock* block = memory_block(reinterpret_cast<const void*>(range.begin));
            if (block && block->device == kPinned) pinned_copy_begins(range, stamp, clock);
          }
          nodes->push_back({&item, stamp, clock});
        });
    for (const Clock& end : ends) join(queue->clock, end);
  } catch (const Fault& f) {
    return failed(f.what());
  }
  e.clock = queue->clock;
  push(*queue, [graph = e.graph, nodes] {
    for (const Node& node : *nodes) run_item(*node.item, node.stamp, node.clock);
    return true;
  });
  return runtime().error;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<Graph*>(graph);
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Turn turn;
  auto* e = reinterpret_cast<GraphExec*>(exec);
  for (const int agent : e->agents) drop_agent(agent);
  charge(e->graph->device, -e->bytes);
  delete e;
  return cudaSuccess;
}

}  // extern "C"
