#include "formats/gguf_names.h"

#include <algorithm>

#include "core/check.h"

namespace weft {
namespace {

using Names = std::vector<GgufName>;
using enum GgufChange;

Names operator+(Names a, const Names& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Llama and the many that are shaped like it.
Names ends(GgufChange norm = none) {
  return {{"model.embed_tokens", "token_embd"},
          {"model.norm", "output_norm", norm},
          {"lm_head", "output"}};
}
Names attention(GgufChange q = none, GgufChange k = none) {
  return {{"model.layers.{}.self_attn.q_proj", "blk.{}.attn_q", q},
          {"model.layers.{}.self_attn.k_proj", "blk.{}.attn_k", k},
          {"model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"},
          {"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"}};
}
Names head_norms(GgufChange norm = none) {
  return {{"model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm", norm},
          {"model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm", norm}};
}
Names gated_mlp() {
  return {{"model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"},
          {"model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"},
          {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"}};
}
Names two_norms(GgufChange norm = none) {
  return {{"model.layers.{}.input_layernorm", "blk.{}.attn_norm", norm},
          {"model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm", norm}};
}
Names sandwich_norms() {
  return {{"model.layers.{}.input_layernorm", "blk.{}.attn_norm", plus_one},
          {"model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm", plus_one},
          {"model.layers.{}.pre_feedforward_layernorm", "blk.{}.ffn_norm", plus_one},
          {"model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm", plus_one}};
}

const std::vector<GgufArchitecture>& table() {
  static const std::vector<GgufArchitecture> rows = {
      {"llama", ends() + attention(queries, keys) + gated_mlp() + two_norms(), ""},
      {"qwen2", ends() + attention() + gated_mlp() + two_norms(), ""},
      {"qwen3", ends() + attention() + head_norms() + gated_mlp() + two_norms(), ""},
      {"phi3",
       ends() + two_norms() +
           Names{{"model.layers.{}.self_attn.qkv_proj", "blk.{}.attn_qkv"},
                 {"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"},
                 {"model.layers.{}.mlp.gate_up_proj", "blk.{}.ffn_up"},
                 {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"}},
       ""},
      {"gemma", ends(plus_one) + attention() + gated_mlp() + two_norms(plus_one), ""},
      {"gemma2", ends(plus_one) + attention() + gated_mlp() + sandwich_norms(), ""},
      {"gemma3",
       ends(plus_one) + attention() + head_norms(plus_one) + gated_mlp() + sandwich_norms(), ""},
      {"starcoder2",
       ends() + attention() + two_norms() +
           Names{{"model.layers.{}.mlp.c_fc", "blk.{}.ffn_up"},
                 {"model.layers.{}.mlp.c_proj", "blk.{}.ffn_down"}},
       ""},
      {"gpt2",
       {{"transformer.wte", "token_embd"},
        {"transformer.wpe", "position_embd"},
        {"transformer.ln_f", "output_norm"},
        {"lm_head", "output"},
        {"transformer.h.{}.ln_1", "blk.{}.attn_norm"},
        {"transformer.h.{}.attn.c_attn", "blk.{}.attn_qkv", turned},
        {"transformer.h.{}.attn.c_proj", "blk.{}.attn_output", turned},
        {"transformer.h.{}.ln_2", "blk.{}.ffn_norm"},
        {"transformer.h.{}.mlp.c_fc", "blk.{}.ffn_up", turned},
        {"transformer.h.{}.mlp.c_proj", "blk.{}.ffn_down", turned}},
       ""},
      {"gptneox",
       {{"gpt_neox.embed_in", "token_embd"},
        {"gpt_neox.final_layer_norm", "output_norm"},
        {"lm_head", "output"},  // transformers 5's name; published files say embed_out
        {"embed_out", "output"},
        {"gpt_neox.layers.{}.input_layernorm", "blk.{}.attn_norm"},
        {"gpt_neox.layers.{}.attention.query_key_value", "blk.{}.attn_qkv", qkv},
        {"gpt_neox.layers.{}.attention.dense", "blk.{}.attn_output"},
        {"gpt_neox.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"},
        {"gpt_neox.layers.{}.mlp.dense_h_to_4h", "blk.{}.ffn_up"},
        {"gpt_neox.layers.{}.mlp.dense_4h_to_h", "blk.{}.ffn_down"}},
       ""},
      {"bert",
       {{"embeddings.word_embeddings", "token_embd"},
        {"embeddings.position_embeddings", "position_embd"},
        {"embeddings.token_type_embeddings", "token_types"},
        {"embeddings.LayerNorm", "token_embd_norm"},
        {"encoder.layer.{}.attention.self.query", "blk.{}.attn_q"},
        {"encoder.layer.{}.attention.self.key", "blk.{}.attn_k"},
        {"encoder.layer.{}.attention.self.value", "blk.{}.attn_v"},
        {"encoder.layer.{}.attention.output.dense", "blk.{}.attn_output"},
        {"encoder.layer.{}.attention.output.LayerNorm", "blk.{}.attn_output_norm"},
        {"encoder.layer.{}.intermediate.dense", "blk.{}.ffn_up"},
        {"encoder.layer.{}.output.dense", "blk.{}.ffn_down"},
        {"encoder.layer.{}.output.LayerNorm", "blk.{}.layer_output_norm"}},
       "bert."},
  };
  return rows;
}

// "blk.3.attn_q.weight" as pattern "blk.{}.attn_q", layer "3", suffix ".weight"; an empty pattern
// for other endings.
struct Parsed {
  std::string pattern, layer, suffix;
};
Parsed parse(const std::string& name) {
  Parsed parsed;
  for (const char* suffix : {".weight", ".bias"})
    if (name.ends_with(suffix)) parsed.suffix = suffix;
  if (parsed.suffix.empty()) return parsed;
  const std::string stem = name.substr(0, name.size() - parsed.suffix.size());
  for (std::size_t at = 0; at < stem.size();) {
    const std::size_t dot = std::min(stem.find('.', at), stem.size());
    const std::string part = stem.substr(at, dot - at);
    const bool is_layer = parsed.layer.empty() && !part.empty() &&
                          part.find_first_not_of("0123456789") == std::string::npos;
    if (is_layer) parsed.layer = part;
    parsed.pattern += (at > 0 ? "." : "") + (is_layer ? "{}" : part);
    at = dot + 1;
  }
  return parsed;
}

std::string fill(const std::string& pattern, const std::string& layer) {
  const std::size_t hole = pattern.find("{}");
  return hole == std::string::npos ? pattern
                                   : pattern.substr(0, hole) + layer + pattern.substr(hole + 2);
}

}  // namespace

const GgufArchitecture& gguf_architecture(const std::string& name, const std::string& file) {
  std::string known;
  for (const GgufArchitecture& row : table()) {
    if (row.name == name) return row;
    known += (known.empty() ? "" : ", ") + row.name;
  }
  user_error("{}: general.architecture is '{}'; allowed: {}", file, name, known);
}

GgufMatch match_hf_name(const GgufArchitecture& architecture, const std::string& hf_name) {
  const bool prefixed =
      !architecture.optional_prefix.empty() && hf_name.starts_with(architecture.optional_prefix);
  const Parsed parsed =
      parse(prefixed ? hf_name.substr(architecture.optional_prefix.size()) : hf_name);
  for (const GgufName& row : architecture.tensors)
    if (row.hf == parsed.pattern)
      return {&row, fill(row.gguf, parsed.layer) + parsed.suffix, parsed.suffix == ".bias"};
  return {};
}

std::string hf_name_of(const GgufArchitecture& architecture, const std::string& gguf_name) {
  const Parsed parsed = parse(gguf_name);
  for (const GgufName& row : architecture.tensors)
    if (row.gguf == parsed.pattern) return fill(row.hf, parsed.layer) + parsed.suffix;
  return "";
}

}  // namespace weft
