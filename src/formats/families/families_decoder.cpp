// Families that are shaped like Llama. A row says what its transformers class does; the names are
// those of its state_dict.
#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "formats/families/families.h"
#include "model/attention_scale.h"

namespace weft {
namespace {

constexpr std::int32_t kNone = -1;

std::vector<TensorName> llama_tensors() {
  return {{"embed.tokens.weight", {"embed_tokens.weight"}},
          {"layers.{}.attn.qkv.weight",
           {"layers.{}.self_attn.q_proj.weight", "layers.{}.self_attn.k_proj.weight",
            "layers.{}.self_attn.v_proj.weight"}},
          {"layers.{}.attn.qkv.bias",
           {"layers.{}.self_attn.q_proj.bias", "layers.{}.self_attn.k_proj.bias",
            "layers.{}.self_attn.v_proj.bias"}},
          {"layers.{}.attn.out.weight", {"layers.{}.self_attn.o_proj.weight"}},
          {"layers.{}.attn.out.bias", {"layers.{}.self_attn.o_proj.bias"}},
          {"layers.{}.mlp.up.weight",
           {"layers.{}.mlp.gate_proj.weight", "layers.{}.mlp.up_proj.weight"}},
          {"layers.{}.mlp.up.bias", {"layers.{}.mlp.gate_proj.bias", "layers.{}.mlp.up_proj.bias"}},
          {"layers.{}.mlp.down.weight", {"layers.{}.mlp.down_proj.weight"}},
          {"layers.{}.mlp.down.bias", {"layers.{}.mlp.down_proj.bias"}},
          {"layers.{}.attn_norm.weight", {"layers.{}.input_layernorm.weight"}},
          {"layers.{}.mlp_norm.weight", {"layers.{}.post_attention_layernorm.weight"}},
          {"final_norm.weight", {"norm.weight"}},
          {"head.weight", {"lm_head.weight"}, Layout::straight, true},
          {"labels.weight", {"score.weight"}, Layout::straight, true},
          {"token_labels.weight", {"score.weight"}, Layout::straight, true},
          {"token_labels.bias", {"score.bias"}, Layout::straight, true}};
}

ModelConfig llama_defaults() {
  ModelConfig d;
  d.layers = 32, d.width = 4096, d.heads = 32, d.kv_heads = 0, d.head_dim = 0, d.ffn = 11008,
  d.vocab = 32000, d.context = 2048;
  d.attention_scale = 0;
  d.norm = NormKind::rms;
  d.norm_eps = 1e-6f;
  d.positions = Positions::rope;
  d.activation = Activation::silu;
  d.gated = true;
  d.qkv_bias = d.out_bias = d.mlp_bias = false;
  d.tied_head = false;
  d.bos_id = 1, d.eos_id = 2;
  return d;
}

// Of a classifier of tokens.
bool labels_tokens(const ModelConfig& c) { return c.head == HeadKind::classify_tokens; }

std::vector<ModuleRow> llama_modules() {
  return {{"embed_tokens", ModuleRow::padded},
          {"layers.{}", ModuleRow::container, "*DecoderLayer"},
          {"layers.{}.self_attn", ModuleRow::container, "*Attention"},
          {"layers.{}.mlp", ModuleRow::container, "*MLP"},
          {"layers.{}.mlp.act_fn", ModuleRow::activation},
          {"rotary_emb", ModuleRow::plain, "*RotaryEmbedding"},
          {.path = "dropout",
           .kind = ModuleRow::dropout,
           .keys = {"classifier_dropout", "hidden_dropout"},
           .before = "score",
           .bare = true,
           .when = labels_tokens}};
}

std::vector<TensorName>::iterator tensor_of(Family& row, const std::string& ours) {
  return std::find_if(row.tensors.begin(), row.tensors.end(),
                      [&](const TensorName& t) { return t.ours == ours; });
}

// What the many that are shaped like Llama share.
Family llama_shape(const std::string& name, const std::string& class_name) {
  Family row;
  row.name = name;
  row.class_name = class_name;
  row.prefix = "model.";
  row.defaults = llama_defaults();
  row.tensors = llama_tensors();
  row.modules = llama_modules();
  return row;
}

// Llama 2 and 3 (Touvron et al. 2023), SmolLM2, Vicuna.
Family llama() {
  Family row = llama_shape("llama", "Llama");
  row.read = [](const JsonReader& json, ModelConfig& c) {
    c.qkv_bias = c.out_bias = json.boolean("attention_bias", false);
    c.mlp_bias = json.boolean("mlp_bias", false);
  };
  row.write = [](const ModelConfig& c, Json& json) {
    json["attention_bias"] = c.out_bias;
    json["mlp_bias"] = c.mlp_bias;
  };
  row.gguf = {.architecture = "llama",
              .rotated_pairs = true,
              .settings = {gguf_constant("hidden_act", "silu"),
                           gguf_has_tensor("attention_bias", "blk.0.attn_q.bias"),
                           gguf_has_tensor("mlp_bias", "blk.0.ffn_up.bias")}};
  return row;
}

void read_window(const JsonReader& json, ModelConfig& c, std::int64_t otherwise) {
  c.window = json.json().contains("sliding_window") ? json.integer("sliding_window", 0, 1 << 26, 0)
                                                    : otherwise;
}

// Mistral (Jiang et al. 2023): Llama with a sliding window in every layer.
Family mistral() {
  Family row = llama_shape("mistral", "Mistral");
  row.defaults.ffn = 14336, row.defaults.kv_heads = 8, row.defaults.context = 4096 * 32,
  row.defaults.window = 4096;
  row.read = [](const JsonReader& json, ModelConfig& c) { read_window(json, c, 4096); };
  row.write = [](const ModelConfig& c, Json& json) {
    json["sliding_window"] = c.window > 0 ? Json(c.window) : Json(nullptr);
  };
  row.gguf = llama().gguf;
  row.gguf.only_with = "attention.sliding_window";  // Llama's class has no window
  row.gguf.settings.push_back(gguf_window());
  return row;
}

// layer_types names each layer; where it is missing the family's pattern holds.
void read_layer_types(const JsonReader& json, ModelConfig& c,
                      const std::function<bool(std::int64_t)>& usual) {
  c.windowed.clear();
  const Json types = json.json().value("layer_types", Json());
  for (std::int64_t l = 0; l < c.layers; ++l) {
    if (types.is_null()) {
      c.windowed.push_back(usual(l));
      continue;
    }
    CHECK_USER(types.is_array() && static_cast<std::int64_t>(types.size()) == c.layers,
               "{}: layer_types is not a list of {} names", json.origin(), c.layers);
    const Json& type = types[static_cast<std::size_t>(l)];
    CHECK_USER(type == "sliding_attention" || type == "full_attention",
               "{}: layer_types holds {}; allowed: sliding_attention, full_attention",
               json.origin(), brief(type));
    c.windowed.push_back(type == "sliding_attention");
  }
}

// Qwen2 and 2.5 (Yang et al. 2024): Llama with biases on query, key and value; a window from some
// layer on, where it is switched on.
Family qwen2() {
  Family row = llama_shape("qwen2", "Qwen2");
  row.defaults.vocab = 151936, row.defaults.ffn = 22016, row.defaults.kv_heads = 32,
  row.defaults.context = 32768;
  row.defaults.qkv_bias = true;
  row.defaults.bos_id = row.defaults.eos_id = kNone;
  row.read = [](const JsonReader& json, ModelConfig& c) {
    if (!json.boolean("use_sliding_window", false)) return;
    read_window(json, c, 4096);
    const std::int64_t first = json.integer("max_window_layers", 0, 1 << 26, 28);
    read_layer_types(json, c, [&](std::int64_t l) { return l >= first; });
  };
  row.gguf = {.architecture = "qwen2",
              .settings = {gguf_constant("hidden_act", "silu"),
                           gguf_constant("use_sliding_window", false)}};
  return row;
}

// The norms of queries and keys.
void add_head_norms(Family& row) {
  for (const std::string which : {"q_norm", "k_norm"})
    row.tensors.push_back(
        {"layers.{}.attn." + which + ".weight", {"layers.{}.self_attn." + which + ".weight"}});
}

// Qwen3 (Yang et al. 2025): Qwen2 with norms of queries and keys instead of biases, and heads of a
// width of their own.
Family qwen3() {
  Family row = qwen2();
  row.name = "qwen3";
  row.class_name = "Qwen3";
  row.defaults.head_dim = 128;
  row.defaults.qkv_bias = false;
  row.defaults.qk_norm = QkNorm::per_head;
  add_head_norms(row);
  row.read = [read = row.read](const JsonReader& json, ModelConfig& c) {
    read(json, c);
    c.qkv_bias = c.out_bias = json.boolean("attention_bias", false);
  };
  row.write = [](const ModelConfig& c, Json& json) { json["attention_bias"] = c.out_bias; };
  row.gguf.architecture = "qwen3";
  row.gguf.settings.push_back(gguf_has_tensor("attention_bias", "blk.0.attn_q.bias"));
  return row;
}

// OLMo 2 (Team OLMo 2024): Llama with norms on what branches add instead of on what they read, and
// norms over all queries and over all keys.
Family olmo2() {
  Family row = llama_shape("olmo2", "Olmo2");
  ModelConfig& d = row.defaults;
  d.vocab = 50304, d.norm_eps = 1e-5f;
  d.pad_id = 1, d.bos_id = kNone, d.eos_id = 50279;
  d.norm_place = NormPlace::output;
  d.qk_norm = QkNorm::whole;
  *tensor_of(row, "layers.{}.attn_norm.weight") = {"layers.{}.attn_post_norm.weight",
                                                   {"layers.{}.post_attention_layernorm.weight"}};
  *tensor_of(row, "layers.{}.mlp_norm.weight") = {"layers.{}.mlp_post_norm.weight",
                                                  {"layers.{}.post_feedforward_layernorm.weight"}};
  add_head_norms(row);
  std::erase_if(row.tensors,  // there is no Olmo2ForTokenClassification
                [](const TensorName& t) { return t.ours.starts_with("token_labels."); });
  row.read = [](const JsonReader& json, ModelConfig& c) {
    c.qkv_bias = c.out_bias = json.boolean("attention_bias", false);
  };
  row.write = [](const ModelConfig& c, Json& json) { json["attention_bias"] = c.out_bias; };
  return row;
}

// Phi-3 (Abdin et al. 2024): Llama with query, key and value in one tensor, gate and up in one,
// long contexts by LongRoPE.
Family phi3() {
  Family row = llama_shape("phi3", "Phi3");
  row.defaults.width = 3072, row.defaults.ffn = 8192, row.defaults.vocab = 32064,
  row.defaults.context = 4096, row.defaults.norm_eps = 1e-5f;
  row.defaults.eos_id = row.defaults.pad_id = 32000;
  row.defaults.rope.rereads = true;
  row.rope.yarn_is_longrope = true;
  row.keys.dropout_embedding = "embd_pdrop";
  row.keys.dropout_residual = "resid_pdrop";
  for (TensorName& t : row.tensors) {
    if (t.ours == "layers.{}.attn.qkv.weight") t.hf = {"layers.{}.self_attn.qkv_proj.weight"};
    if (t.ours == "layers.{}.mlp.up.weight") t.hf = {"layers.{}.mlp.gate_up_proj.weight"};
  }
  std::erase_if(row.tensors, [](const TensorName& t) {
    return t.ours.starts_with("layers.") && t.ours.ends_with(".bias");
  });
  // Its class makes the output's matrix first.
  std::iter_swap(tensor_of(row, "layers.{}.attn.qkv.weight"),
                 tensor_of(row, "layers.{}.attn.out.weight"));
  for (ModuleRow& module : row.modules)
    if (module.kind == ModuleRow::activation) module.path = "layers.{}.mlp.activation_fn";
  for (const char* name : {"layers.{}.resid_attn_dropout", "layers.{}.resid_mlp_dropout"})
    row.modules.push_back({.path = name,
                           .kind = ModuleRow::dropout,
                           .keys = {"resid_pdrop"},
                           .otherwise = &ModelConfig::dropout_residual});
  row.read = [](const JsonReader& json, ModelConfig& c) { read_window(json, c, 0); };
  row.write = [](const ModelConfig& c, Json& json) {
    json["sliding_window"] = c.window > 0 ? Json(c.window) : Json(nullptr);
  };
  row.gguf = {.architecture = "phi3",
              .settings = {gguf_constant("hidden_act", "silu"), gguf_window(),
                           gguf_integer("original_max_position_embeddings",
                                        "rope.scaling.original_context_length")}};
  return row;
}

// Gemma (Gemma Team 2024): Llama with norms of 1 + w, scaled embeddings and GeGLU.
Family gemma() {
  Family row = llama_shape("gemma", "Gemma");
  ModelConfig& d = row.defaults;
  d.layers = 28, d.width = 3072, d.heads = 16, d.kv_heads = 16, d.head_dim = 256, d.ffn = 24576,
  d.vocab = 256000, d.context = 8192;
  d.norm_offset = 1;
  d.embedding_scale = 0;
  d.activation = Activation::gelu_tanh;
  d.tied_head = true;
  d.pad_id = 0, d.eos_id = 1, d.bos_id = 2;
  row.keys.usual_activation = "gelu_pytorch_tanh";
  row.modules.push_back({"embed_tokens", ModuleRow::container, "*TextScaledWordEmbedding"});
  row.read = [](const JsonReader& json, ModelConfig& c) {
    c.qkv_bias = c.out_bias = json.boolean("attention_bias", false);
    // transformers takes the file's "gelu" for the tanh form that the models were trained with.
    if (json.string("hidden_activation", json.string("hidden_act", "gelu")) == "gelu")
      c.activation = Activation::gelu_tanh;
  };
  row.write = [](const ModelConfig& c, Json& json) { json["attention_bias"] = c.out_bias; };
  row.gguf = {.architecture = "gemma",
              .settings = {gguf_constant("hidden_act", "gelu_pytorch_tanh"),
                           gguf_constant("hidden_activation", "gelu_pytorch_tanh"),
                           gguf_constant("attention_bias", false)}};
  return row;
}

// Gemma-2 (Gemma Team 2024): norms on both sides of each branch, soft caps, a window in every
// second layer.
Family gemma2() {
  Family row = gemma();
  row.name = "gemma2";
  row.class_name = "Gemma2";
  ModelConfig& d = row.defaults;
  d.layers = 26, d.width = 2304, d.heads = 8, d.kv_heads = 4, d.ffn = 9216;
  d.norm_place = NormPlace::sandwich;
  d.attention_softcap = 50, d.logit_softcap = 30, d.window = 4096;
  d.attention_scale = attention_scale_of(256);
  row.keys.activation = "hidden_activation";
  tensor_of(row, "layers.{}.mlp_norm.weight")->hf = {"layers.{}.pre_feedforward_layernorm.weight"};
  row.tensors.insert(
      tensor_of(row, "layers.{}.mlp_norm.weight"),
      {"layers.{}.attn_post_norm.weight", {"layers.{}.post_attention_layernorm.weight"}});
  row.tensors.insert(
      tensor_of(row, "layers.{}.mlp_norm.weight") + 1,
      {"layers.{}.mlp_post_norm.weight", {"layers.{}.post_feedforward_layernorm.weight"}});
  const auto is_windowed = [](std::int64_t l) { return l % 2 == 0; };
  const auto softcap = [](const JsonReader& json, const char* key, double otherwise) {
    return static_cast<float>(json.json().contains(key) ? json.number(key, 0, 1e9, 0) : otherwise);
  };
  row.read = [softcap, is_windowed](const JsonReader& json, ModelConfig& c) {
    c.qkv_bias = c.out_bias = json.boolean("attention_bias", false);
    c.attention_scale = attention_scale_of(json.number("query_pre_attn_scalar", 1e-6, 1e9, 256));
    c.attention_softcap = softcap(json, "attn_logit_softcapping", 50);
    c.logit_softcap = softcap(json, "final_logit_softcapping", 30);
    read_window(json, c, 4096);
    read_layer_types(json, c, is_windowed);
  };
  row.write = [](const ModelConfig& c, Json& json) {
    json["attention_bias"] = c.out_bias;
    if (json.contains("query_pre_attn_scalar")) return;  // the file's own, written as it was read
    json["query_pre_attn_scalar"] = static_cast<std::int64_t>(std::lround(
        1.0 / (static_cast<double>(c.attention_scale) * static_cast<double>(c.attention_scale))));
    json["attn_logit_softcapping"] = c.attention_softcap;
    json["final_logit_softcapping"] = c.logit_softcap;
    json["sliding_window"] = c.window;
  };
  // Its layers are of two kinds, whether or not a context is long enough to tell.
  row.fresh = [is_windowed](ModelConfig& c) {
    for (std::int64_t l = 0; l < c.layers; ++l) c.windowed.push_back(is_windowed(l));
  };
  row.gguf.architecture = "gemma2";
  for (const GgufSetting& setting :
       {gguf_window(), gguf_number("attn_logit_softcapping", "attn_logit_softcapping"),
        gguf_number("final_logit_softcapping", "final_logit_softcapping"), gguf_query_scalar(46)})
    row.gguf.settings.push_back(setting);
  return row;
}

}  // namespace

std::vector<Family> decoder_families() {
  return {llama(), mistral(), qwen2(), qwen3(), olmo2(), phi3(), gemma(), gemma2()};
}

std::vector<Family> gguf_families() {
  Family gemma3 = gemma2();
  gemma3.name = "gemma3_text";
  gemma3.class_name = "Gemma3";
  gemma3.defaults.rope.theta = 1e6;
  add_head_norms(gemma3);
  gemma3.gguf = gemma().gguf;
  gemma3.gguf.architecture = "gemma3";
  for (const GgufSetting& setting :
       {gguf_window(), gguf_number("rope_local_base_freq", "rope.freq_base_swa", 10000),
        gguf_constant("sliding_window_pattern", 6),
        gguf_constant("attn_logit_softcapping", nullptr),
        gguf_number_or_null("final_logit_softcapping", "final_logit_softcapping"),
        gguf_query_scalar(62)})
    gemma3.gguf.settings.push_back(setting);

  Family starcoder2 = llama_shape("starcoder2", "Starcoder2");
  starcoder2.keys.eps = "norm_epsilon";
  starcoder2.defaults.norm = NormKind::layer;
  for (TensorName& t : starcoder2.tensors) {
    if (t.ours == "layers.{}.mlp.up.weight") t.hf = {"layers.{}.mlp.c_fc.weight"};
    if (t.ours == "layers.{}.mlp.down.weight") t.hf = {"layers.{}.mlp.c_proj.weight"};
  }
  std::erase_if(starcoder2.tensors,
                [](const TensorName& t) { return t.ours.ends_with(".mlp.up.bias"); });
  starcoder2.gguf = {.architecture = "starcoder2",
                     .settings = {gguf_constant("hidden_act", "gelu_pytorch_tanh"), gguf_window(),
                                  gguf_has_tensor("use_bias", "blk.0.attn_q.bias")}};
  return {gemma3, starcoder2};
}

}  // namespace weft
