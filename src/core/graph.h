// Work that a stream was given once, kept to be launched again and again as one: a step of many
// short kernels costs the host one call.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

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
  // graphs nothing happens, and where the device has no memory left for one `work` is dropped; this
  // one stays empty then: callers give their work to the stream.
  void capture(Stream& stream, const std::function<void()>& work);
  void launch(Stream& stream);  // enqueued, on the device of the capture
  // What plans leave on a GPU for a piece of the work that is kept: its arguments have 4 KB at
  // most, and as much again for what no document tells.
  static constexpr std::size_t kPieceBytes = 8 << 10;
  void clear() { graph_.reset(); }

 private:
  Device device_;
  std::shared_ptr<void> graph_;
};

struct GraphCounts {
  std::int64_t captures = 0, launches = 0;
};

// Graphs of one kind of work in several shapes, each by its key. Work that comes with a key must
// be the same each time: what differs it reads from memory that is uploaded before.
class GraphCache {
 public:
  using Key = std::vector<std::int64_t>;

  // Gives the stream `work`: at a key's first time as it is, so that ops make what they keep (a
  // choice of algorithm, a workspace); captured at its second, and launched from then on.
  void run(const Key& key, Stream& stream, const std::function<void()>& work);
  const GraphCounts& counts() const { return counts_; }
  // Of the device at most, for work of up to `n_pieces` kernels and copies; 0 where there are no
  // graphs. Where a device has less all the same, its work is given as it is from then on.
  static std::size_t most_bytes(std::int64_t n_pieces, Device device);

 private:
  // Beyond so many keys the one goes that was asked for longest ago: each holds memory of the GPU.
  static constexpr std::size_t kMost = 16;
  struct Entry {
    Graph graph;
    std::int64_t asked = 0;
  };
  std::map<Key, Entry> entries_;
  std::size_t scratch_bytes_ = 0;  // of the stream, as graphs know it
  std::int64_t n_asked_ = 0;
  bool full_ = false;  // the device: it had no memory for a graph
  GraphCounts counts_;
};

}  // namespace weft
