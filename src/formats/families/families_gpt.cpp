// GPT-2 and GPT-NeoX: layer norms and biases. A row says what its transformers class does; the
// names are those of its state_dict.
#include "core/check.h"
#include "formats/families/families.h"
#include "model/attention_scale.h"

namespace weft {
namespace {

constexpr std::int32_t kNone = -1;

ModuleRow classifier_dropout(const std::vector<std::string>& keys) {
  return {.path = "dropout",
          .kind = ModuleRow::dropout,
          .keys = keys,
          .before = "classifier",
          .bare = true,
          .when = [](const ModelConfig& c) { return c.head == HeadKind::classify_tokens; }};
}

// GPT-2 and DistilGPT-2 (Radford et al. 2019): learned positions, biases everywhere.
Family gpt2() {
  ModelConfig d;
  d.dropout_embedding = d.dropout_attention = d.dropout_residual = 0.1f;
  d.head_dim = d.ffn = d.kv_heads = 0;
  d.eos_id = d.bos_id = kNone;
  Family row;
  row.name = "gpt2";
  row.class_name = "GPT2";
  row.causal_lm = "LMHeadModel";
  row.prefix = "transformer.";
  row.defaults = d;
  row.keys = {.layers = "n_layer",
              .width = "n_embd",
              .heads = "n_head",
              .kv_heads = "",
              .head_dim = "",
              .ffn = "n_inner",
              .context = "n_positions",
              .eps = "layer_norm_epsilon",
              .activation = "activation_function",
              .dropout_embedding = "embd_pdrop",
              .dropout_attention = "attn_pdrop",
              .dropout_residual = "resid_pdrop",
              .dropout_head = ""};
  row.tensors = {{"embed.tokens.weight", {"wte.weight"}},
                 {"embed.positions.weight", {"wpe.weight"}},
                 {"layers.{}.attn_norm.weight", {"h.{}.ln_1.weight"}},
                 {"layers.{}.attn_norm.bias", {"h.{}.ln_1.bias"}},
                 {"layers.{}.attn.qkv.weight", {"h.{}.attn.c_attn.weight"}, Layout::transposed},
                 {"layers.{}.attn.qkv.bias", {"h.{}.attn.c_attn.bias"}},
                 {"layers.{}.attn.out.weight", {"h.{}.attn.c_proj.weight"}, Layout::transposed},
                 {"layers.{}.attn.out.bias", {"h.{}.attn.c_proj.bias"}},
                 {"layers.{}.mlp_norm.weight", {"h.{}.ln_2.weight"}},
                 {"layers.{}.mlp_norm.bias", {"h.{}.ln_2.bias"}},
                 {"layers.{}.mlp.up.weight", {"h.{}.mlp.c_fc.weight"}, Layout::transposed},
                 {"layers.{}.mlp.up.bias", {"h.{}.mlp.c_fc.bias"}},
                 {"layers.{}.mlp.down.weight", {"h.{}.mlp.c_proj.weight"}, Layout::transposed},
                 {"layers.{}.mlp.down.bias", {"h.{}.mlp.c_proj.bias"}},
                 {"final_norm.weight", {"ln_f.weight"}},
                 {"final_norm.bias", {"ln_f.bias"}},
                 {"head.weight", {"lm_head.weight"}, Layout::straight, true},
                 {"labels.weight", {"score.weight"}, Layout::straight, true},
                 {"token_labels.weight", {"classifier.weight"}, Layout::straight, true},
                 {"token_labels.bias", {"classifier.bias"}, Layout::straight, true}};
  row.read = [](const JsonReader& json, ModelConfig& c) {
    c.attention_scale = json.boolean("scale_attn_weights", true)
                            ? attention_scale_of(static_cast<double>(c.head_dim))
                            : 1.0f;
    c.scale_by_inverse_layer = json.boolean("scale_attn_by_inverse_layer_idx", false);
    CHECK_USER(!json.boolean("add_cross_attention", false),
               "{}: add_cross_attention is true; allowed: false", json.origin());
  };
  row.write = [](const ModelConfig& c, Json& json) {
    if (json.contains("n_ctx")) json["n_ctx"] = c.context;
    json["scale_attn_weights"] = c.attention_scale != 1.0f || c.head_dim == 1;
    json["scale_attn_by_inverse_layer_idx"] = c.scale_by_inverse_layer;
  };
  row.gguf = {.architecture = "gpt2",
              .settings = {gguf_constant("activation_function", "gelu_new")}};
  const auto dropout = [](const std::string& path, const std::string& key,
                          float ModelConfig::*otherwise, const std::string& before = "") {
    return ModuleRow{.path = path,
                     .kind = ModuleRow::dropout,
                     .keys = {key},
                     .otherwise = otherwise,
                     .before = before};
  };
  row.modules = {{"h.{}", ModuleRow::container, "*Block"},
                 {"h.{}.attn", ModuleRow::container, "*Attention"},
                 {"h.{}.mlp", ModuleRow::container, "*MLP"},
                 dropout("drop", "embd_pdrop", &ModelConfig::dropout_embedding, "h"),
                 dropout("h.{}.attn.attn_dropout", "attn_pdrop", &ModelConfig::dropout_attention),
                 dropout("h.{}.attn.resid_dropout", "resid_pdrop", &ModelConfig::dropout_residual),
                 {"h.{}.mlp.act", ModuleRow::activation},
                 dropout("h.{}.mlp.dropout", "resid_pdrop", &ModelConfig::dropout_residual),
                 classifier_dropout({"classifier_dropout", "hidden_dropout"})};
  return row;
}

// GPT-NeoX and Pythia (Black et al. 2022), GenSLM's shape: rotary positions on a share of each
// head, parallel residual.
Family gpt_neox() {
  ModelConfig d;
  d.layers = 44, d.width = 6144, d.heads = 64, d.ffn = 24576, d.vocab = 50432, d.context = 2048;
  d.kv_heads = d.head_dim = 0;
  d.attention_scale = 0;
  d.positions = Positions::rope;
  d.activation = Activation::gelu_erf;
  d.parallel_residual = true;
  d.tied_head = false;
  d.dropout_head = 0.1f;
  d.bos_id = 0, d.eos_id = 2;
  Family row;
  row.name = "gpt_neox";
  row.class_name = "GPTNeoX";
  row.prefix = "gpt_neox.";
  row.defaults = d;
  row.keys.kv_heads = row.keys.head_dim = "";
  row.keys.eps = "layer_norm_eps";
  row.keys.dropout_embedding = row.keys.dropout_residual = "hidden_dropout";
  row.keys.dropout_head = "classifier_dropout";
  row.rope = {.theta = "rotary_emb_base", .share = "rotary_pct", .usual_share = 0.25};
  row.tensors = {
      {"embed.tokens.weight", {"embed_in.weight"}},
      {"layers.{}.attn_norm.weight", {"layers.{}.input_layernorm.weight"}},
      {"layers.{}.attn_norm.bias", {"layers.{}.input_layernorm.bias"}},
      {"layers.{}.mlp_norm.weight", {"layers.{}.post_attention_layernorm.weight"}},
      {"layers.{}.mlp_norm.bias", {"layers.{}.post_attention_layernorm.bias"}},
      {"layers.{}.attn.qkv.weight",
       {"layers.{}.attention.query_key_value.weight"},
       Layout::by_head},
      {"layers.{}.attn.qkv.bias", {"layers.{}.attention.query_key_value.bias"}, Layout::by_head},
      {"layers.{}.attn.out.weight", {"layers.{}.attention.dense.weight"}},
      {"layers.{}.attn.out.bias", {"layers.{}.attention.dense.bias"}},
      {"layers.{}.mlp.up.weight", {"layers.{}.mlp.dense_h_to_4h.weight"}},
      {"layers.{}.mlp.up.bias", {"layers.{}.mlp.dense_h_to_4h.bias"}},
      {"layers.{}.mlp.down.weight", {"layers.{}.mlp.dense_4h_to_h.weight"}},
      {"layers.{}.mlp.down.bias", {"layers.{}.mlp.dense_4h_to_h.bias"}},
      {"final_norm.weight", {"final_layer_norm.weight"}},
      {"final_norm.bias", {"final_layer_norm.bias"}},
      {"head.weight", {"embed_out.weight"}, Layout::straight, true},
      {"labels.weight", {"score.weight"}, Layout::straight, true},
      {"token_labels.weight", {"classifier.weight"}, Layout::straight, true},
      {"token_labels.bias", {"classifier.bias"}, Layout::straight, true}};
  row.aliases = {{"embed_out.weight", "lm_head.weight"}};
  row.read = [](const JsonReader& json, ModelConfig& c) {
    c.parallel_residual = json.boolean("use_parallel_residual", true);
    c.qkv_bias = c.out_bias = json.boolean("attention_bias", true);
  };
  row.write = [](const ModelConfig& c, Json& json) {
    json["use_parallel_residual"] = c.parallel_residual;
    json["attention_bias"] = c.qkv_bias;
  };
  row.gguf = {.architecture = "gptneox",
              .settings = {gguf_constant("hidden_act", "gelu"),
                           gguf_boolean("use_parallel_residual", "use_parallel_residual", true),
                           gguf_has_tensor("attention_bias", "blk.0.attn_qkv.bias")}};
  const auto dropout = [](const std::string& path, const std::string& before) {
    return ModuleRow{.path = path,
                     .kind = ModuleRow::dropout,
                     .keys = {"hidden_dropout"},
                     .otherwise = &ModelConfig::dropout_residual,
                     .before = before};
  };
  row.modules = {{"layers.{}", ModuleRow::container, "*Layer"},
                 {"layers.{}.attention", ModuleRow::container, "*Attention"},
                 {"layers.{}.mlp", ModuleRow::container, "*MLP"},
                 {"layers.{}.mlp.act", ModuleRow::activation},
                 dropout("emb_dropout", "layers"),
                 dropout("layers.{}.post_attention_dropout", "attention"),
                 dropout("layers.{}.post_mlp_dropout", "attention"),
                 {"rotary_emb", ModuleRow::plain, "*RotaryEmbedding"},
                 classifier_dropout({"classifier_dropout"})};
  return row;
}

}  // namespace

std::vector<Family> gpt_families() { return {gpt2(), gpt_neox()}; }

}  // namespace weft
