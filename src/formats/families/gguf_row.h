// What a family's row says of GGUF files: how they call the family, and what its config.json says
// that its ConfigKeys do not cover.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "io/json.h"
#include "io/weights/gguf.h"

namespace weft {

// A file whose keys begin with its architecture: key("block_count") is "llama.block_count".
struct GgufKeys {
  const GgufReader& file;
  std::string architecture;
  JsonReader json{file.metadata(), file.file()};

  std::string key(const std::string& name) const { return architecture + "." + name; }
  bool has(const std::string& name) const { return json.has(key(name)); }
  // UserErrors name the file and the key: missing, no integer, outside of 1 to `most`.
  std::int64_t integer(const std::string& name, std::int64_t most = 1 << 26) const {
    return json.integer(key(name), 1, most);
  }
  double number(const std::string& name, double otherwise) const {
    return json.number(key(name), -1e30, 1e30, otherwise);
  }
};

using GgufSetting = std::function<void(const GgufKeys&, Json& config)>;

struct GgufRow {
  std::string architecture = {};  // general.architecture; empty: llama.cpp has no such model
  // A key without which the file is another family's of the same architecture.
  std::string only_with = {};
  bool base_model = false;     // the file holds transformers' base model, without a head
  bool rotated_pairs = false;  // the converter reordered the rows of queries and keys
  std::vector<GgufSetting> settings = {};  // in order: a later one sees what earlier ones set
};

// Settings: config.json's `key` is …
GgufSetting gguf_constant(const std::string& key, Json value);
// … the file's number, `otherwise` where it names none.
GgufSetting gguf_number(const std::string& key, const std::string& name, double otherwise);
// … the file's number; not set where it names none.
GgufSetting gguf_number(const std::string& key, const std::string& name);
// … the file's integer; not set where it names none.
GgufSetting gguf_integer(const std::string& key, const std::string& name);
// … the file's number; null where it names none.
GgufSetting gguf_number_or_null(const std::string& key, const std::string& name);
GgufSetting gguf_boolean(const std::string& key, const std::string& name, bool otherwise);
// … whether the file has the tensor.
GgufSetting gguf_has_tensor(const std::string& key, const std::string& tensor);
// … the matrix's rows, 1 where there is none.
GgufSetting gguf_rows(const std::string& key, const std::string& tensor);
// sliding_window: the file's; null where it names none, or 0.
GgufSetting gguf_window();
// query_pre_attn_scalar: by the file's scale of q·k; where it does not tell it, the head dim, but
// width / heads for the one size that differs, by its number of layers, as in llama.cpp.
GgufSetting gguf_query_scalar(std::int64_t layers_that_differ);

}  // namespace weft
