// What a model is, free of any family's spelling. model/families maps a Hugging Face config.json to it and back.
#pragma once

#include <cstdint>
#include <string>

#include "io/json.h"
#include "kernels/ops.h"

namespace weft {

struct ModelConfig {
  std::string family = "gpt2";  // a row of model/families
  std::int64_t layers = 12;     // L
  std::int64_t width = 768;     // C
  std::int64_t heads = 12;      // H
  std::int64_t kv_heads = 12;   // Hkv
  std::int64_t head_dim = 64;   // D
  std::int64_t ffn = 3072;      // F
  std::int64_t vocab = 50257;   // V
  std::int64_t context = 1024;  // T at most
  float norm_eps = 1e-5f;
  Activation activation = Activation::gelu_tanh;
  float attention_scale = 0.125f;           // of q·k
  bool scale_by_inverse_layer = false;      // further divides the scale by layer + 1
  bool tied_head = true;                    // the head is the token embedding
  float dropout_embedding = 0, dropout_attention = 0, dropout_residual = 0;  // used by training only
  float init_std = 0.02f;
  std::int32_t eos_id = -1, bos_id = -1;    // -1: none
  Json source;  // the config.json it came from, kept so that export changes only what Weft changed; null for a fresh model

  std::int64_t qkv_rows() const { return (heads + 2 * kv_heads) * head_dim; }
  float layer_attention_scale(std::int64_t layer) const {
    return scale_by_inverse_layer ? attention_scale / static_cast<float>(layer + 1) : attention_scale;
  }
};

// UserError where the numbers cannot be a model; `origin` names the file or "the options".
void validate(const ModelConfig& config, const std::string& origin);

// Equal as far as parameters and arithmetic go (dropout and source aside); else the first difference, "layers is 4, not 6".
std::string first_difference(const ModelConfig& a, const ModelConfig& b);

}  // namespace weft
