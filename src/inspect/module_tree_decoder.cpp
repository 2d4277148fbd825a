// The trees of the families that read from left to right.
#include "inspect/module_tree_families.h"

namespace weft {
namespace {

TorchModule conv1d(std::int64_t out, std::int64_t in) {
  return {"Conv1D", {}, fmt::format("nf={}, nx={}", out, in)};
}

TorchModule gpt2_base(const TreeConfig& m) {
  const ModelConfig& c = m.c;
  const TorchModule norm = layer_norm(c.width, m.number("layer_norm_epsilon", c.norm_eps));
  const TorchModule residual = dropout(m.number("resid_pdrop", c.dropout_residual));
  const TorchModule layer = {
      "GPT2Block",
      {{"ln_1", norm},
       {"attn",
        {"GPT2Attention",
         {{"c_attn", conv1d(3 * c.width, c.width)},
          {"c_proj", conv1d(c.width, c.width)},
          {"attn_dropout", dropout(m.number("attn_pdrop", c.dropout_attention))},
          {"resid_dropout", residual}}}},
       {"ln_2", norm},
       {"mlp",
        {"GPT2MLP",
         {{"c_fc", conv1d(c.ffn, c.width)},
          {"c_proj", conv1d(c.width, c.ffn)},
          {"act", m.activation("activation_function", "gelu_new")},
          {"dropout", residual}}}}}};
  return {"GPT2Model",
          {{"wte", embedding(c.vocab, c.width)},
           {"wpe", embedding(c.context, c.width)},
           {"drop", dropout(m.number("embd_pdrop", c.dropout_embedding))},
           {"h", module_list(c.layers, layer)},
           {"ln_f", norm}}};
}

TorchModule gpt_neox_base(const TreeConfig& m) {
  const ModelConfig& c = m.c;
  const TorchModule norm = layer_norm(c.width, m.number("layer_norm_eps", c.norm_eps));
  const TorchModule hidden = dropout(m.number("hidden_dropout", c.dropout_residual));
  const TorchModule layer = {"GPTNeoXLayer",
                             {{"input_layernorm", norm},
                              {"post_attention_layernorm", norm},
                              {"post_attention_dropout", hidden},
                              {"post_mlp_dropout", hidden},
                              {"attention",
                               {"GPTNeoXAttention",
                                {{"query_key_value", linear(c.width, 3 * c.width, c.qkv_bias)},
                                 {"dense", linear(c.width, c.width, c.out_bias)}}}},
                              {"mlp",
                               {"GPTNeoXMLP",
                                {{"dense_h_to_4h", linear(c.width, c.ffn, true)},
                                 {"dense_4h_to_h", linear(c.ffn, c.width, true)},
                                 {"act", m.activation("hidden_act", "gelu")}}}}}};
  return {"GPTNeoXModel",
          {{"embed_in", embedding(c.vocab, c.width)},
           {"emb_dropout", hidden},
           {"layers", module_list(c.layers, layer)},
           {"final_layer_norm", norm},
           {"rotary_emb", {"GPTNeoXRotaryEmbedding", {}}}}};
}

// GPT-2's and NeoX's heads.
std::vector<TorchPart> gpt_heads(const TreeConfig& m, TorchPart base) {
  const ModelConfig& c = m.c;
  if (c.head == HeadKind::causal_lm) return {base, {"lm_head", linear(c.width, c.vocab, false)}};
  if (c.head == HeadKind::classify)
    return {base, {"score", linear(c.width, c.n_labels, c.label_bias)}};
  const std::string p = m.number("classifier_dropout",
                                 c.family == "gpt2" ? m.number("hidden_dropout", "0.1") : "0.1");
  return {base, {"dropout", dropout(p)}, {"classifier", linear(c.width, c.n_labels, c.label_bias)}};
}

TorchModule rms_norm(const TreeConfig& m) {
  return {m.type("RMSNorm"),
          {},
          fmt::format("({},), eps={}", m.c.width, m.number("rms_norm_eps", m.c.norm_eps))};
}

// What differs between the families that are shaped like Llama.
struct LlamaShape {
  TorchModule embedding, attention, mlp;
  std::vector<TorchPart> rest;  // of a layer
};

LlamaShape llama_shape(const TreeConfig& m, const TorchModule& activation) {
  const ModelConfig& c = m.c;
  const std::int64_t queries = c.heads * c.head_dim, keys = c.kv_heads * c.head_dim;
  const TorchModule norm = rms_norm(m);
  return {m.padded_embedding(c.vocab, c.pad_id),
          {m.type("Attention"),
           {{"q_proj", linear(c.width, queries, c.qkv_bias)},
            {"k_proj", linear(c.width, keys, c.qkv_bias)},
            {"v_proj", linear(c.width, keys, c.qkv_bias)},
            {"o_proj", linear(queries, c.width, c.out_bias)}}},
          {m.type("MLP"),
           {{"gate_proj", linear(c.width, c.ffn, c.mlp_bias)},
            {"up_proj", linear(c.width, c.ffn, c.mlp_bias)},
            {"down_proj", linear(c.ffn, c.width, c.mlp_bias)},
            {"act_fn", activation}}},
          {{"input_layernorm", norm}, {"post_attention_layernorm", norm}}};
}

TorchModule with_layers(const TreeConfig& m, const LlamaShape& shape) {
  TorchModule layer = {m.type("DecoderLayer"),
                       {{"self_attn", shape.attention}, {"mlp", shape.mlp}}};
  for (const TorchPart& part : shape.rest) layer.parts.push_back(part);
  return {m.type("Model"),
          {{"embed_tokens", shape.embedding},
           {"layers", module_list(m.c.layers, layer)},
           {"norm", rms_norm(m)},
           {"rotary_emb", {m.type("RotaryEmbedding"), {}}}}};
}

TorchModule llama_base(const TreeConfig& m) {
  return with_layers(m, llama_shape(m, m.activation("hidden_act", "silu")));
}

TorchModule phi3_base(const TreeConfig& m) {
  const ModelConfig& c = m.c;
  const TorchModule activation = m.activation("hidden_act", "silu");
  const TorchModule residual = dropout(m.number("resid_pdrop", c.dropout_residual));
  LlamaShape shape = llama_shape(m, activation);
  shape.attention.parts = {{"o_proj", linear(c.heads * c.head_dim, c.width, false)},
                           {"qkv_proj", linear(c.width, c.qkv_rows(), false)}};
  shape.mlp.parts = {{"gate_up_proj", linear(c.width, 2 * c.ffn, false)},
                     {"down_proj", linear(c.ffn, c.width, false)},
                     {"activation_fn", activation}};
  shape.rest.push_back({"resid_attn_dropout", residual});
  shape.rest.push_back({"resid_mlp_dropout", residual});
  return with_layers(m, shape);
}

LlamaShape gemma_shape(const TreeConfig& m, const TorchModule& activation) {
  LlamaShape shape = llama_shape(m, activation);
  shape.embedding.type = m.type("TextScaledWordEmbedding");
  return shape;
}

TorchModule gemma_base(const TreeConfig& m) {
  // The class takes the file's "gelu" for the tanh form.
  const std::string tanh = "gelu_pytorch_tanh";
  const bool legacy = m.json.value("hidden_act", Json()) == "gelu";
  return with_layers(
      m, gemma_shape(m, legacy ? activation_module(tanh) : m.activation("hidden_act", tanh)));
}

TorchModule gemma2_base(const TreeConfig& m) {
  LlamaShape shape = gemma_shape(m, m.activation("hidden_activation", "gelu_pytorch_tanh"));
  for (const char* name : {"pre_feedforward_layernorm", "post_feedforward_layernorm"})
    shape.rest.push_back({name, rms_norm(m)});
  return with_layers(m, shape);
}

std::vector<TorchPart> llama_heads(const TreeConfig& m, TorchPart base) {
  const ModelConfig& c = m.c;
  if (c.head == HeadKind::causal_lm) return {base, {"lm_head", linear(c.width, c.vocab, false)}};
  const TorchPart score = {"score", linear(c.width, c.n_labels, c.label_bias)};
  if (c.head == HeadKind::classify) return {base, score};
  return {base,
          {"dropout", dropout(m.number("classifier_dropout", m.number("hidden_dropout", "0.1")))},
          score};
}

}  // namespace

std::vector<FamilyTree> decoder_trees() {
  return {{"gpt2", gpt2_base, gpt_heads},     {"gpt_neox", gpt_neox_base, gpt_heads},
          {"llama", llama_base, llama_heads}, {"mistral", llama_base, llama_heads},
          {"qwen2", llama_base, llama_heads}, {"phi3", phi3_base, llama_heads},
          {"gemma", gemma_base, llama_heads}, {"gemma2", gemma2_base, llama_heads}};
}

}  // namespace weft
