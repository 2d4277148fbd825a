// safetensors: memory-mapped reading, of one file or of a Hugging Face directory
// (model.safetensors, or its sharded index), and writing. Format: u64 header length, JSON header
// {name: {dtype, shape, data_offsets}}, then the data. Everything the header claims is checked
// against the file before the first tensor is given out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/tensor.h"
#include "io/weights/stored_tensor.h"

namespace weft {

class SafetensorsReader {
 public:
  // A .safetensors file, or a directory with model.safetensors or model.safetensors.index.json.
  explicit SafetensorsReader(const std::filesystem::path& path);
  const StoredTensor* find(const std::string& name) const;  // null when absent
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

 private:
  struct Mapping;
  std::vector<std::shared_ptr<Mapping>> files_;
  std::map<std::string, StoredTensor> tensors_;
};

// One tensor to write; `fill` is called once, in order, with a buffer of the tensor's bytes.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::f32;
  Dims shape;
  std::function<void(std::span<std::byte>)> fill;
};

// Writes dir/model.safetensors, or model-00001-of-0000N.safetensors with an index when the sum
// exceeds max_shard_bytes. Each file is written beside, synced and renamed. When `writes` is false
// (ranks other than 0) `fill` is still called in the same order, so that it may hold collectives,
// and nothing is written.
void write_safetensors(const std::filesystem::path& dir, std::vector<TensorToWrite>& tensors,
                       std::int64_t max_shard_bytes, bool writes);

}  // namespace weft
