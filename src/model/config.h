// What a model is, free of any family's spelling. formats/families maps a Hugging Face config.json
// to it and back. A field added here is visited in model/config_fields.h.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "io/json.h"
#include "kernels/ops.h"

namespace weft {

enum class NormKind : std::uint8_t { layer, rms };
// Where a block's norms stand. pre: before each branch. sandwich: also behind it, on what the
// branch adds (Gemma-2). output: there alone (OLMo 2). post: behind each add, on the stream itself
// (BERT); the block then runs the same way, but what goes on is the norm's output: see
// model/block.h.
enum class NormPlace : std::uint8_t { pre, post, sandwich, output };
// Root mean square norms of queries and keys before they are turned. per_head: of each head by
// itself, one weight of D for all (Qwen3). whole: over all heads, a weight of H·D and of Hkv·D
// (OLMo 2).
enum class QkNorm : std::uint8_t { none, per_head, whole };
enum class Positions : std::uint8_t { learned, rope };

// Rotary positions (Su et al. 2021) and the ways to stretch them; model/rope computes the angles as
// transformers' modeling_rope_utils.
enum class RopeScaling : std::uint8_t { none, linear, dynamic, llama3, yarn, longrope, factors };
struct Rope {
  RopeScaling scaling = RopeScaling::none;
  double theta = 10000;
  std::int64_t dims = 0;  // P: of the D dims of a head, those that turn; even
  double factor = 1;
  // llama3, yarn, longrope: before stretching; dynamic: where it begins.
  std::int64_t original_context = 0;
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  double beta_fast = 32, beta_slow = 1;              // yarn
  bool truncate = true;                              // yarn
  double attention_factor = 1;                       // yarn, longrope: of cos and sin
  // longrope: P / 2 each; factors: short_factors alone (GGUF's rope_freqs).
  std::vector<double> short_factors, long_factors;
  // longrope: a text that outgrows original_context is read again from its start (Phi-3).
  bool rereads = false;
};

// What stands on the last norm's output.
enum class HeadKind : std::uint8_t {
  causal_lm,        // predicts the next token
  masked_lm,        // predicts masked tokens
  classify,         // n_labels numbers a text
  classify_tokens,  // n_labels numbers a token
  base,             // nothing: hidden states
};
// How `classify` gets from hidden states to the labels.
enum class Pooling : std::uint8_t {
  last_token,  // the last token's state straight to the labels (GPT-2, Llama)
  first_tanh,  // the first token's through a dense layer and tanh (BERT, RoBERTa, ESM)
  first_relu,  // likewise with relu (DistilBERT)
};
enum class Problem : std::uint8_t { regression, single_label, multi_label };

struct ModelConfig {
  std::string family = "gpt2";  // a row of formats/families
  std::int64_t layers = 12;     // L
  std::int64_t width = 768;     // C
  std::int64_t heads = 12;      // H
  std::int64_t kv_heads = 12;   // Hkv
  std::int64_t head_dim = 64;   // D
  std::int64_t ffn = 3072;      // F
  std::int64_t vocab = 50257;   // V
  std::int64_t context = 1024;  // T at most

  NormKind norm = NormKind::layer;
  NormPlace norm_place = NormPlace::pre;
  QkNorm qk_norm = QkNorm::none;
  float norm_eps = 1e-5f;
  float norm_offset = 0;           // rms: y = x·rstd·(offset + weight); 1 for Gemma
  bool parallel_residual = false;  // attention and MLP both read the block's input (NeoX)

  Positions positions = Positions::learned;
  // Row of the position table that the first token takes; pad_id + 1 for RoBERTa.
  std::int64_t first_position = 0;
  // A pad token within a text stays at row pad_id, and is not counted (RoBERTa, ESM).
  bool pad_keeps_position = false;
  Rope rope;
  std::int64_t token_types = 0;  // rows of the token type table; 0: none
  bool embedding_norm = false;   // a norm on the embeddings that no block owns (ESM-1b)
  float embedding_scale = 1;     // sqrt(C) for Gemma
  bool token_dropout = false;    // ESM: mask tokens embed to 0, the others are scaled up for it

  Activation activation = Activation::gelu_tanh;
  bool gated = false;  // act(gate)·up
  bool qkv_bias = true, out_bias = true, mlp_bias = true;

  float attention_scale = 0.125f;                  // of q·k
  bool scale_by_inverse_layer = false;             // further divides the scale by layer + 1
  float attention_softcap = 0, logit_softcap = 0;  // 0: none
  std::int64_t window = 0;  // keys that a query of a windowed layer sees, its own included; 0: all
  std::vector<std::uint8_t> windowed;  // by layer; empty: all, where there is a window
  bool causal = true;

  HeadKind head = HeadKind::causal_lm;
  bool tied_head = true;  // the LM head's weight is the token embedding
  bool head_bias = false;
  bool head_transform = false;  // masked LM: dense, activation and norm before the head
  Activation head_activation = Activation::gelu_erf;  // of the transform
  Pooling pooling = Pooling::last_token;
  bool pooler = false;      // base model: the first token's state through a dense layer and tanh
  bool label_bias = false;  // of the label layer
  std::int64_t n_labels = 2;
  Problem problem = Problem::single_label;
  std::vector<std::string> labels;  // id2label

  // Probabilities, of training alone.
  float dropout_embedding = 0, dropout_attention = 0, dropout_residual = 0, dropout_head = 0;
  float init_std = 0.02f;
  std::int32_t eos_id = -1, bos_id = -1, pad_id = -1, mask_id = -1;  // -1: none
  // The config.json it came from, kept so that export changes only what Weft changed; null for a
  // fresh model.
  Json source;

  bool has_branch_norms() const { return norm_place != NormPlace::output; }  // before branches
  bool has_output_norms() const {                                            // on what branches add
    return norm_place == NormPlace::sandwich || norm_place == NormPlace::output;
  }
  std::int64_t qkv_rows() const { return (heads + 2 * kv_heads) * head_dim; }
  std::int64_t up_rows() const { return gated ? 2 * ffn : ffn; }
  bool has_lm_head() const { return head == HeadKind::causal_lm || head == HeadKind::masked_lm; }
  bool has_label_head() const {
    return head == HeadKind::classify || head == HeadKind::classify_tokens;
  }
  bool has_window(std::int64_t layer) const {
    return window > 0 && (windowed.empty() || windowed[static_cast<std::size_t>(layer)]);
  }
  float layer_attention_scale(std::int64_t layer) const {
    return scale_by_inverse_layer ? attention_scale / static_cast<float>(layer + 1)
                                  : attention_scale;
  }
};

// UserError where a field is out of its range, or two do not fit each other: it names the field,
// its value and what is allowed. `origin` names the file or "the options".
void validate(const ModelConfig& config, const std::string& origin);

// The first field that differs of those that decide parameters or arithmetic, "layers is 4, not 6";
// empty where there is none.
std::string first_difference(const ModelConfig& a, const ModelConfig& b);

// The named fields as a log or `--json` shows them, in the order of `names`.
OrderedJson shown_fields(const ModelConfig& config, std::initializer_list<const char*> names);

}  // namespace weft
