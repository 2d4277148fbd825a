// GGUF's tensor names and what the converter (llama.cpp's convert_hf_to_gguf.py) did to the
// tensors, derived from the families' rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/families/families.h"

namespace weft {

// What the converter did on the way in.
enum class GgufChange : std::uint8_t {
  none,
  queries,  // rows of each head reordered (RowOrder::rotated_pairs); also of the bias
  keys,     // the same, in KV heads
  qkv,      // rows reordered by part (RowOrder::qkv_by_part); also of the bias
  turned,   // Conv1D's (in, out) stored as (out, in); not of the bias
  plus_one  // 1 added: Gemma's norms hold w and scale by 1 + w
};

// Names without ".weight" or ".bias", "{}" for the layer.
struct GgufName {
  std::string hf, gguf;
  GgufChange change = GgufChange::none;
};

struct GgufArchitecture {
  const Family* family;  // its row; its own where nothing here computes the model
  std::vector<GgufName> tensors;
};

// The row of the file's general.architecture (and, where families share one, by the keys that it
// has); UserError with the list when unknown. The row lives as long as the program.
const GgufArchitecture& gguf_architecture(const GgufReader& file);

// The row of a Hugging Face name, and the name in the file; null where the architecture has no such
// tensor.
struct GgufMatch {
  const GgufName* row = nullptr;
  std::string name;  // "blk.3.attn_q.weight"
  bool is_bias = false;
};
GgufMatch match_hf_name(const GgufArchitecture& architecture, const std::string& hf_name);
std::string hf_name_of(const GgufArchitecture& architecture,
                       const std::string& gguf_name);  // empty where there is none

}  // namespace weft
