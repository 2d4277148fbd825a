// GGUF (ggml's model files), versions 2 and 3, little-endian: memory-mapped reading.
// Format: "GGUF", u32 version, u64 tensor count, u64 key count; keys {string, u32 type, value};
// tensors {string, u32 rank, u64 dims (fastest first), u32 ggml type, u64 offset}; padding; the
// data. Strings are u64 length and bytes. Everything claimed is checked against the file before the
// first tensor is given out; a UserError names the file and what is wrong.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "io/json.h"
#include "io/mapped_file.h"
#include "io/weights/stored_tensor.h"

namespace weft {

class GgufReader {
 public:
  explicit GgufReader(const std::filesystem::path& file);
  // It begins as one; false for what cannot be read. UserError: a Git LFS pointer.
  static bool is_gguf(const std::filesystem::path& file);
  const StoredTensor* find(const std::string& name) const;  // null when absent
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  // One flat object: "llama.block_count": 30, "tokenizer.ggml.tokens": […]. 32-bit floats become
  // the shortest decimals that read back as them.
  const Json& metadata() const { return metadata_; }
  const std::string& file() const { return file_; }

 private:
  void read();

  std::string file_;
  std::unique_ptr<MappedFile> map_;
  Json metadata_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace weft
