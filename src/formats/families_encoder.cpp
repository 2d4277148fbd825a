// Families that read in both directions. Their blocks are post-norm (BERT and kin) or pre-norm
// (ESM-2). In a post-norm block the norm before the attention is the one that ends the block before
// it (the embeddings' for the first); the last one is our final norm.
#include <cmath>

#include "core/check.h"
#include "formats/families.h"

namespace weft {
namespace {

// The tensors that BERT's kin share, and their names there.
struct EncoderNames {
  std::string layer, query, key, value, out, attn_norm, up, down, mlp_norm;
  std::string qkv_bias = "bias";
};

std::vector<TensorName> post_norm_tensors(const EncoderNames& n,
                                          const std::string& embedding_norm) {
  const auto at = [&](const std::string& hole, const std::string& name) {
    std::string path = n.layer;
    path.replace(path.find("{}"), 2, hole);
    return path + name;
  };
  std::vector<TensorName> list;
  for (const std::string end : {".weight", ".bias"}) {
    list.push_back({"layers.0.attn_norm" + end, {embedding_norm + end}});
    list.push_back({"layers.{}.attn_norm" + end, {at("{prev}", n.mlp_norm + end)}});
    list.push_back({"layers.{}.attn.qkv" + end,
                    {at("{}", n.query + end), at("{}", n.key + end), at("{}", n.value + end)}});
    list.push_back({"layers.{}.attn.out" + end, {at("{}", n.out + end)}});
    list.push_back({"layers.{}.mlp_norm" + end, {at("{}", n.attn_norm + end)}});
    list.push_back({"layers.{}.mlp.up" + end, {at("{}", n.up + end)}});
    list.push_back({"layers.{}.mlp.down" + end, {at("{}", n.down + end)}});
    list.push_back({"final_norm" + end, {at("{last}", n.mlp_norm + end)}});
  }
  return list;
}

void add_head(std::vector<TensorName>& list, const std::string& ours, const std::string& hf) {
  for (const std::string end : {".weight", ".bias"})
    list.push_back({ours + end, {hf + end}, Layout::straight, true});
}

ModelConfig bert_defaults() {
  ModelConfig d;
  d.layers = 12, d.width = 768, d.heads = 12, d.kv_heads = d.head_dim = 0, d.ffn = 3072,
  d.vocab = 30522, d.context = 512;
  d.attention_scale = 0;
  d.norm_place = NormPlace::post;
  d.norm_eps = 1e-12f;
  d.token_types = 2;
  d.activation = Activation::gelu_erf;
  d.causal = false;
  d.head = HeadKind::masked_lm;
  d.head_bias = d.head_transform = d.pooler = d.label_bias = true;
  d.pooling = Pooling::first_tanh;
  d.dropout_embedding = d.dropout_attention = d.dropout_residual = d.dropout_head = 0.1f;
  d.pad_id = 0;
  return d;
}

ConfigKeys bert_keys() {
  ConfigKeys keys;
  keys.kv_heads = keys.head_dim = "";
  keys.eps = "layer_norm_eps";
  keys.dropout_embedding = keys.dropout_residual = "hidden_dropout_prob";
  keys.dropout_attention = "attention_probs_dropout_prob";
  keys.dropout_head = "classifier_dropout";
  return keys;
}

// Whether it reads as a decoder is the file's to say, for a causal LM; transformers warns where it
// does not.
void read_bert(const JsonReader& json, ModelConfig& c) {
  CHECK_USER(!json.boolean("add_cross_attention", false),
             "{}: add_cross_attention is true; allowed: false", json.origin());
  const std::string positions = json.string("position_embedding_type", "absolute");
  CHECK_USER(positions == "absolute", "{}: position_embedding_type is '{}'; allowed: absolute",
             json.origin(), positions);
  c.causal = json.boolean("is_decoder", false);
  c.token_types = json.integer("type_vocab_size", 0, 1 << 20, 2);
  c.head_activation = c.activation;
}

void write_bert(const ModelConfig& c, Json& json) {
  json["type_vocab_size"] = c.token_types;
  if (c.causal || json.contains("is_decoder")) json["is_decoder"] = c.causal;
}

const EncoderNames kBertLayer = {.layer = "encoder.layer.{}.",
                                 .query = "attention.self.query",
                                 .key = "attention.self.key",
                                 .value = "attention.self.value",
                                 .out = "attention.output.dense",
                                 .attn_norm = "attention.output.LayerNorm",
                                 .up = "intermediate.dense",
                                 .down = "output.dense",
                                 .mlp_norm = "output.LayerNorm"};

// The row under another name: what the file's config.json calls the model, its classes and its
// tensors. `causal_lm` may be empty: none.
Family named(Family row, const std::string& name, const std::string& class_name,
             const std::string& causal_lm) {
  row.name = name;
  row.class_name = class_name;
  row.causal_lm = causal_lm;
  row.prefix = name + ".";
  row.gguf = {};
  return row;
}

// BERT (Devlin et al. 2018).
Family bert() {
  Family row = named({}, "bert", "Bert", "LMHeadModel");
  row.defaults = bert_defaults();
  row.keys = bert_keys();
  row.tensors = post_norm_tensors(kBertLayer, "embeddings.LayerNorm");
  row.tensors.push_back({"embed.tokens.weight", {"embeddings.word_embeddings.weight"}});
  row.tensors.push_back({"embed.positions.weight", {"embeddings.position_embeddings.weight"}});
  row.tensors.push_back({"embed.types.weight", {"embeddings.token_type_embeddings.weight"}});
  add_head(row.tensors, "head.dense", "cls.predictions.transform.dense");
  add_head(row.tensors, "head.norm", "cls.predictions.transform.LayerNorm");
  row.tensors.push_back(
      {"head.weight", {"cls.predictions.decoder.weight"}, Layout::straight, true});
  row.tensors.push_back({"head.bias", {"cls.predictions.bias"}, Layout::straight, true});
  for (const std::string end : {".weight", ".bias"})
    for (const std::string ours : {"pool", "pooler"})
      row.tensors.push_back({ours + end, {"pooler.dense" + end}});
  add_head(row.tensors, "labels", "classifier");
  add_head(row.tensors, "token_labels", "classifier");
  row.aliases = {{"cls.predictions.bias", "cls.predictions.decoder.bias"}};
  row.read = read_bert;
  row.write = write_bert;
  row.gguf = {.architecture = "bert",
              .base_model = true,
              .settings = {gguf_constant("hidden_act", "gelu"),
                           gguf_rows("type_vocab_size", "token_types.weight")}};
  return row;
}

// DistilBERT (Sanh et al. 2019): BERT without token types, half as deep.
Family distilbert() {
  Family row = named(bert(), "distilbert", "DistilBert", "");
  row.defaults.layers = 6, row.defaults.token_types = 0, row.defaults.dropout_head = 0.2f,
  row.defaults.pooling = Pooling::first_relu;
  row.defaults.pooler = false;
  row.keys = {.layers = "n_layers",
              .width = "dim",
              .heads = "n_heads",
              .kv_heads = "",
              .head_dim = "",
              .ffn = "hidden_dim",
              .eps = "",
              .activation = "activation",
              .dropout_embedding = "dropout",
              .dropout_attention = "attention_dropout",
              .dropout_residual = "dropout",
              .dropout_head = "seq_classif_dropout"};
  row.tensors = post_norm_tensors({.layer = "transformer.layer.{}.",
                                   .query = "attention.q_lin",
                                   .key = "attention.k_lin",
                                   .value = "attention.v_lin",
                                   .out = "attention.out_lin",
                                   .attn_norm = "sa_layer_norm",
                                   .up = "ffn.lin1",
                                   .down = "ffn.lin2",
                                   .mlp_norm = "output_layer_norm"},
                                  "embeddings.LayerNorm");
  row.tensors.push_back({"embed.tokens.weight", {"embeddings.word_embeddings.weight"}});
  row.tensors.push_back({"embed.positions.weight", {"embeddings.position_embeddings.weight"}});
  add_head(row.tensors, "head.dense", "vocab_transform");
  add_head(row.tensors, "head.norm", "vocab_layer_norm");
  add_head(row.tensors, "head", "vocab_projector");
  add_head(row.tensors, "pool", "pre_classifier");
  add_head(row.tensors, "labels", "classifier");
  add_head(row.tensors, "token_labels", "classifier");
  row.aliases = {};
  row.read = [](const JsonReader&, ModelConfig& c) { c.head_activation = c.activation; };
  row.write = nullptr;
  return row;
}

// Positions are counted from the pad token's id on.
void count_from_pad(const JsonReader& json, ModelConfig& c) {
  CHECK_USER(c.pad_id >= 0, "{}: pad_token_id is missing; positions are counted from it",
             json.origin());
  c.first_position = c.pad_id + 1;
  c.pad_keeps_position = true;
  CHECK_USER(c.context > c.first_position, "{}: max_position_embeddings is {}; allowed: above {}",
             json.origin(), c.context, c.first_position);
  c.context -= c.first_position;
}

// The same of a fresh model, whose context is what the options say.
void count_fresh_from_pad(ModelConfig& c) {
  CHECK_USER(c.pad_id >= 0,
             "--family {} counts positions from the pad token's id, but the tokenizer has no "
             "pad_token; choose another --family or tokenizer",
             c.family);
  c.first_position = c.pad_id + 1;
  c.pad_keeps_position = true;
}

// RoBERTa (Liu et al. 2019): BERT with other positions and heads.
Family roberta() {
  Family row = named(bert(), "roberta", "Roberta", "ForCausalLM");
  row.defaults.vocab = 50265, row.defaults.pad_id = 1, row.defaults.bos_id = 0,
  row.defaults.eos_id = 2;
  std::erase_if(row.tensors, [](const TensorName& t) {
    return t.ours.starts_with("head.") || t.ours.starts_with("pool.") ||
           t.ours.starts_with("labels.");
  });
  add_head(row.tensors, "head.dense", "lm_head.dense");
  add_head(row.tensors, "head.norm", "lm_head.layer_norm");
  row.tensors.push_back({"head.weight", {"lm_head.decoder.weight"}, Layout::straight, true});
  row.tensors.push_back({"head.bias", {"lm_head.bias"}, Layout::straight, true});
  add_head(row.tensors, "pool", "classifier.dense");
  add_head(row.tensors, "labels", "classifier.out_proj");
  row.aliases = {{"lm_head.bias", "lm_head.decoder.bias"}};
  row.read = [](const JsonReader& json, ModelConfig& c) {
    read_bert(json, c);
    c.head_activation = Activation::gelu_erf;
    count_from_pad(json, c);
  };
  row.fresh = count_fresh_from_pad;
  return row;
}

// XLM-RoBERTa (Conneau et al. 2019): RoBERTa in a hundred languages.
Family xlm_roberta() {
  Family row = named(roberta(), "xlm-roberta", "XLMRoberta", "ForCausalLM");
  row.prefix = "roberta.";
  row.defaults.vocab = 250002;
  return row;
}

// ESM-2 (Lin et al. 2023), proteins: pre-norm, rotary positions; ESM-1b: learned positions and a
// norm on the embeddings.
Family esm() {
  Family row = named(roberta(), "esm", "Esm", "");
  ModelConfig& d = row.defaults;
  d.vocab = 33, d.context = 1026, d.token_types = 0, d.norm_place = NormPlace::pre, d.pad_id = 1,
  d.mask_id = 32, d.bos_id = -1, d.eos_id = 2;
  std::erase_if(row.tensors, [](const TensorName& t) {
    return t.ours.starts_with("layers.") || t.ours.starts_with("final") ||
           t.ours.starts_with("embed.types");
  });
  for (const std::string end : {".weight", ".bias"}) {
    const std::string at = "encoder.layer.{}.", self = at + "attention.self.";
    row.tensors.push_back({"embed.norm" + end, {"embeddings.layer_norm" + end}});
    row.tensors.push_back({"layers.{}.attn_norm" + end, {at + "attention.LayerNorm" + end}});
    row.tensors.push_back({"layers.{}.attn.qkv" + end,
                           {self + "query" + end, self + "key" + end, self + "value" + end}});
    row.tensors.push_back({"layers.{}.attn.out" + end, {at + "attention.output.dense" + end}});
    row.tensors.push_back({"layers.{}.mlp_norm" + end, {at + "LayerNorm" + end}});
    row.tensors.push_back({"layers.{}.mlp.up" + end, {at + "intermediate.dense" + end}});
    row.tensors.push_back({"layers.{}.mlp.down" + end, {at + "output.dense" + end}});
    row.tensors.push_back({"final_norm" + end, {"encoder.emb_layer_norm_after" + end}});
    row.carried.push_back("contact_head.regression" +
                          end);  // which residues touch, from all attention maps
  }
  row.carried.push_back("encoder.layer.{}.attention.self.rotary_embeddings.inv_freq");
  row.read = [](const JsonReader& json, ModelConfig& c) {
    CHECK_USER(!json.boolean("is_folding_model", false),
               "{}: is_folding_model is true (ESMFold); allowed: false", json.origin());
    CHECK_USER(!json.boolean("add_cross_attention", false),
               "{}: add_cross_attention is true; allowed: false", json.origin());
    c.causal = json.boolean("is_decoder", false);
    c.activation = c.head_activation =
        Activation::gelu_erf;  // whatever hidden_act says: the model's own
    c.embedding_norm = json.boolean("emb_layer_norm_before", false);
    c.token_dropout = json.boolean("token_dropout", false);
    const std::string positions = json.string("position_embedding_type", "absolute");
    CHECK_USER(positions == "absolute" || positions == "rotary",
               "{}: position_embedding_type is '{}'; allowed: absolute, rotary", json.origin(),
               positions);
    if (positions == "absolute") return count_from_pad(json, c);
    c.positions = Positions::rope;
    c.rope.theta = json.number("rope_theta", 1e-6, 1e18, 10000);
    c.rope.dims = c.head_dim;
  };
  row.write = [](const ModelConfig& c, Json& json) {
    json["position_embedding_type"] = c.positions == Positions::rope ? "rotary" : "absolute";
    json["emb_layer_norm_before"] = c.embedding_norm;
    json["token_dropout"] = c.token_dropout;
    if (c.causal || json.contains("is_decoder")) json["is_decoder"] = c.causal;
  };
  row.fresh = [](ModelConfig& c) {
    c.positions = Positions::rope;
    c.token_dropout = c.mask_id >= 0;
  };
  return row;
}

}  // namespace

std::vector<Family> encoder_families() {
  return {bert(), distilbert(), roberta(), xlm_roberta(), esm()};
}

}  // namespace weft
