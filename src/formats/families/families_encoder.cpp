// Families that read in both directions. Their blocks are post-norm (BERT and kin) or pre-norm
// (ESM-2). In a post-norm block the norm before the attention is the one that ends the block before
// it (the embeddings' for the first); the last one is our final norm.
#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "formats/families/families.h"

namespace weft {
namespace {

// The tensors that BERT's kin share, and their names there.
struct EncoderNames {
  std::string layer, query, key, value, out, attn_norm, up, down, mlp_norm;
};

// A weight and a bias of the same names.
void add(std::vector<TensorName>& list, const std::string& ours, const std::vector<std::string>& hf,
         bool bare = false) {
  for (const std::string end : {".weight", ".bias"}) {
    list.push_back({ours + end, hf, Layout::straight, bare});
    for (std::string& name : list.back().hf) name += end;
  }
}
void add_head(std::vector<TensorName>& list, const std::string& ours, const std::string& hf) {
  add(list, ours, {hf}, true);
}

void add_post_norm(std::vector<TensorName>& list, const EncoderNames& n,
                   const std::string& embedding_norm) {
  const auto at = [&](const std::string& hole, const std::string& name) {
    std::string path = n.layer;
    path.replace(path.find("{}"), 2, hole);
    return path + name;
  };
  add(list, "layers.0.attn_norm", {embedding_norm});
  add(list, "layers.{}.attn.qkv", {at("{}", n.query), at("{}", n.key), at("{}", n.value)});
  add(list, "layers.{}.attn.out", {at("{}", n.out)});
  add(list, "layers.{}.mlp_norm", {at("{}", n.attn_norm)});
  add(list, "layers.{}.mlp.up", {at("{}", n.up)});
  add(list, "layers.{}.mlp.down", {at("{}", n.down)});
  add(list, "layers.{}.attn_norm", {at("{prev}", n.mlp_norm)});
  add(list, "final_norm", {at("{last}", n.mlp_norm)});
}

bool labels_texts(const ModelConfig& c) { return c.head == HeadKind::classify; }
bool labels_tokens(const ModelConfig& c) { return c.head == HeadKind::classify_tokens; }

ModuleRow dropout(const std::string& path, const std::vector<std::string>& keys,
                  float ModelConfig::*otherwise = &ModelConfig::dropout_residual) {
  return {.path = path, .kind = ModuleRow::dropout, .keys = keys, .otherwise = otherwise};
}
// The same in the head's class, before one of its modules.
ModuleRow head_dropout(const std::string& path, const std::vector<std::string>& keys,
                       const std::string& before, bool (*when)(const ModelConfig&)) {
  ModuleRow row = dropout(path, keys);
  row.before = before;
  row.bare = true;
  row.when = when;
  return row;
}

const std::vector<std::string> kHiddenDropout = {"hidden_dropout_prob"},
                               kClassifierDropout = {"classifier_dropout", "hidden_dropout_prob"};

// The modules of BERT's and RoBERTa's base model.
std::vector<ModuleRow> bert_modules() {
  const std::string at = "encoder.layer.{}.";
  return {{"embeddings", ModuleRow::container, "*Embeddings"},
          {"embeddings.word_embeddings", ModuleRow::padded},
          dropout("embeddings.dropout", kHiddenDropout),
          {"encoder", ModuleRow::container, "*Encoder"},
          {"encoder.layer.{}", ModuleRow::container, "*Layer"},
          {at + "attention", ModuleRow::container, "*Attention"},
          {at + "attention.self", ModuleRow::container, "*SelfAttention"},
          dropout(at + "attention.self.dropout", {"attention_probs_dropout_prob"},
                  &ModelConfig::dropout_attention),
          {at + "attention.output", ModuleRow::container, "*SelfOutput"},
          dropout(at + "attention.output.dropout", kHiddenDropout),
          {at + "intermediate", ModuleRow::container, "*Intermediate"},
          {at + "intermediate.intermediate_act_fn", ModuleRow::activation},
          {at + "output", ModuleRow::container, "*Output"},
          dropout(at + "output.dropout", kHiddenDropout),
          {"pooler", ModuleRow::container, "*Pooler"},
          {"pooler.activation", ModuleRow::plain, "Tanh"}};
}

ModuleRow head_container(const std::string& path, const std::string& type,
                         bool (*when)(const ModelConfig&) = nullptr) {
  return {.path = path, .type = type, .bare = true, .when = when};
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
  row.tensors = {{"embed.tokens.weight", {"embeddings.word_embeddings.weight"}},
                 {"embed.positions.weight", {"embeddings.position_embeddings.weight"}},
                 {"embed.types.weight", {"embeddings.token_type_embeddings.weight"}}};
  add_post_norm(row.tensors, kBertLayer, "embeddings.LayerNorm");
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
  row.modules = bert_modules();
  for (const ModuleRow& module : std::initializer_list<ModuleRow>{
           head_container("cls", "BertOnlyMLMHead"),
           head_container("cls.predictions", "BertLMPredictionHead"),
           head_container("cls.predictions.transform", "BertPredictionHeadTransform"),
           {.path = "cls.predictions.transform.transform_act_fn",
           .kind = ModuleRow::activation,
           .before = "LayerNorm",
           .bare = true},
           head_dropout("dropout", kClassifierDropout, "classifier",
                        [](const ModelConfig& c) { return c.has_label_head(); })})
    row.modules.push_back(module);
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
  row.tensors = {{"embed.tokens.weight", {"embeddings.word_embeddings.weight"}},
                 {"embed.positions.weight", {"embeddings.position_embeddings.weight"}}};
  add_post_norm(row.tensors,
                {.layer = "transformer.layer.{}.",
                 .query = "attention.q_lin",
                 .key = "attention.k_lin",
                 .value = "attention.v_lin",
                 .out = "attention.out_lin",
                 .attn_norm = "sa_layer_norm",
                 .up = "ffn.lin1",
                 .down = "ffn.lin2",
                 .mlp_norm = "output_layer_norm"},
                "embeddings.LayerNorm");
  add_head(row.tensors, "head.dense", "vocab_transform");
  add_head(row.tensors, "head.norm", "vocab_layer_norm");
  add_head(row.tensors, "head", "vocab_projector");
  add_head(row.tensors, "pool", "pre_classifier");
  add_head(row.tensors, "labels", "classifier");
  add_head(row.tensors, "token_labels", "classifier");
  row.aliases = {};
  const std::string at = "transformer.layer.{}.";
  ModuleRow ffn_dropout = dropout(at + "ffn.dropout", {"dropout"});
  ffn_dropout.before = "lin1";
  ModuleRow text_dropout = head_dropout("dropout", {"seq_classif_dropout"}, "", labels_texts);
  text_dropout.otherwise = &ModelConfig::dropout_head;
  const auto predicts = [](const ModelConfig& c) { return c.has_lm_head(); };
  row.modules = {
      {"embeddings", ModuleRow::container, "Embeddings"},
      {"embeddings.word_embeddings", ModuleRow::padded},
      dropout("embeddings.dropout", {"dropout"}),
      {"transformer", ModuleRow::container, "Transformer"},
      {"transformer.layer.{}", ModuleRow::container, "TransformerBlock"},
      {at + "attention", ModuleRow::container, "*SelfAttention"},
      dropout(at + "attention.dropout", {"attention_dropout"}, &ModelConfig::dropout_attention),
      {at + "ffn", ModuleRow::container, "FFN"},
      ffn_dropout,
      {at + "ffn.activation", ModuleRow::activation},
      {.path = "activation",
       .kind = ModuleRow::activation,
       .before = "distilbert",
       .bare = true,
       .when = predicts},
      {.path = "mlm_loss_fct",
       .kind = ModuleRow::plain,
       .type = "CrossEntropyLoss",
       .bare = true,
       .when = predicts},
      text_dropout,
      head_dropout("dropout", {"dropout"}, "classifier", labels_tokens)};
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

// RoBERTa's heads and ESM's, by where their dropout comes from.
std::vector<ModuleRow> roberta_heads(const std::vector<std::string>& dropout_keys) {
  return {head_container("lm_head", "*LMHead"),
          head_container("classifier", "*ClassificationHead", labels_texts),
          head_dropout("classifier.dropout", dropout_keys, "out_proj", labels_texts),
          head_dropout("dropout", dropout_keys, "classifier", labels_tokens)};
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
  // Its class makes the positions last of the embeddings, and pads them too.
  std::stable_partition(row.tensors.begin(), row.tensors.end(), [](const TensorName& t) {
    return t.ours == "embed.tokens.weight" || t.ours == "embed.types.weight" ||
           t.ours.starts_with("layers.0.");
  });
  add_head(row.tensors, "head.dense", "lm_head.dense");
  add_head(row.tensors, "head.norm", "lm_head.layer_norm");
  row.tensors.push_back({"head.weight", {"lm_head.decoder.weight"}, Layout::straight, true});
  row.tensors.push_back({"head.bias", {"lm_head.bias"}, Layout::straight, true});
  add_head(row.tensors, "pool", "classifier.dense");
  add_head(row.tensors, "labels", "classifier.out_proj");
  row.aliases = {{"lm_head.bias", "lm_head.decoder.bias"}};
  row.modules = bert_modules();
  for (ModuleRow& module : row.modules)
    if (module.path == "embeddings.dropout") module.before = "position_embeddings";
  row.modules.push_back({"embeddings.position_embeddings", ModuleRow::padded});
  for (const ModuleRow& module : roberta_heads(kClassifierDropout)) row.modules.push_back(module);
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
  row.head_first = true;
  return row;
}

// ESM-2 (Lin et al. 2023), proteins: pre-norm, rotary positions; ESM-1b: learned positions and a
// norm on the embeddings.
Family esm() {
  Family row = named(roberta(), "esm", "Esm", "");
  ModelConfig& d = row.defaults;
  d.vocab = 33, d.context = 1026, d.token_types = 0, d.norm_place = NormPlace::pre, d.pad_id = 1,
  d.mask_id = 32, d.bos_id = -1, d.eos_id = 2;
  const std::string at = "encoder.layer.{}.", self = at + "attention.self.";
  std::vector<TensorName> tensors = {
      {"embed.tokens.weight", {"embeddings.word_embeddings.weight"}}};
  add(tensors, "embed.norm", {"embeddings.layer_norm"});
  tensors.push_back({"embed.positions.weight", {"embeddings.position_embeddings.weight"}});
  add(tensors, "layers.{}.attn.qkv", {self + "query", self + "key", self + "value"});
  add(tensors, "layers.{}.attn.out", {at + "attention.output.dense"});
  add(tensors, "layers.{}.attn_norm", {at + "attention.LayerNorm"});
  add(tensors, "layers.{}.mlp.up", {at + "intermediate.dense"});
  add(tensors, "layers.{}.mlp.down", {at + "output.dense"});
  add(tensors, "layers.{}.mlp_norm", {at + "LayerNorm"});
  add(tensors, "final_norm", {"encoder.emb_layer_norm_after"});
  for (const TensorName& t : row.tensors)  // RoBERTa's pooler and heads
    if (t.bare || t.ours.starts_with("pooler")) tensors.push_back(t);
  row.tensors = std::move(tensors);
  row.aliases = {};  // its head's bias stands beside the decoder
  for (const std::string end :
       {".weight", ".bias"})  // which residues touch, from all attention maps
    row.carried.push_back("contact_head.regression" + end);
  row.carried.push_back("encoder.layer.{}.attention.self.rotary_embeddings.inv_freq");
  ModuleRow embedding_dropout = dropout("embeddings.dropout", kHiddenDropout);
  embedding_dropout.before = "position_embeddings";
  row.modules = {{"embeddings", ModuleRow::container, "*Embeddings"},
                 {"embeddings.word_embeddings", ModuleRow::padded_if_named},
                 {"embeddings.position_embeddings", ModuleRow::padded_if_named},
                 embedding_dropout,
                 {.path = "rotary_embeddings",
                  .kind = ModuleRow::plain,
                  .type = "*RotaryEmbedding",
                  .before = "encoder",
                  .when = [](const ModelConfig& c) { return c.positions == Positions::rope; }},
                 {"encoder", ModuleRow::container, "*Encoder"},
                 {"encoder.layer.{}", ModuleRow::container, "*Layer"},
                 {at + "attention", ModuleRow::container, "*Attention"},
                 {at + "attention.self", ModuleRow::container, "*SelfAttention"},
                 {at + "attention.output", ModuleRow::container, "*SelfOutput"},
                 dropout(at + "attention.output.dropout", kHiddenDropout),
                 {at + "intermediate", ModuleRow::container, "*Intermediate"},
                 {at + "output", ModuleRow::container, "*Output"},
                 dropout(at + "output.dropout", kHiddenDropout),
                 {"pooler", ModuleRow::container, "*Pooler"},
                 {"pooler.activation", ModuleRow::plain, "Tanh"},
                 {"contact_head", ModuleRow::plain, "*ContactPredictionHead"},
                 {"contact_head.regression", ModuleRow::plain, "Linear",
                  "in_features={maps}, out_features=1, bias=True"},
                 {"contact_head.activation", ModuleRow::plain, "Sigmoid"}};
  for (const ModuleRow& module : roberta_heads(kHiddenDropout)) row.modules.push_back(module);
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
