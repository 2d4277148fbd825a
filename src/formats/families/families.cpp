#include "formats/families/families.h"

#include <cmath>

#include "core/check.h"
#include "core/short_decimal.h"
#include "formats/families/label_config.h"
#include "formats/families/rope_config.h"
#include "model/attention_scale.h"

namespace weft {
namespace {

// The first of a kind is the one that a fresh config is given.
constexpr ActivationName kActivations[] = {
    {"gelu_new", Activation::gelu_tanh, "NewGELUActivation"},
    {"gelu_pytorch_tanh", Activation::gelu_tanh, "GELUTanh"},
    {"gelu_fast", Activation::gelu_tanh, "FastGELUActivation"},
    {"gelu", Activation::gelu_erf, "GELUActivation"},
    {"gelu_python", Activation::gelu_erf, "GELUActivation"},
    {"silu", Activation::silu, "SiLUActivation"},
    {"swish", Activation::silu, "SiLU"},
    {"relu", Activation::relu, "ReLU"}};

Activation activation_of(const std::string& name, const std::string& key,
                         const std::string& origin) {
  std::string known;
  for (const ActivationName& a : kActivations) {
    if (name == a.name) return a.kind;
    known += (known.empty() ? "" : ", ") + std::string(a.name);
  }
  user_error("{}: {} is '{}'; allowed: {}", origin, key, name, known);
}

std::string name_of(Activation kind) {
  for (const ActivationName& a : kActivations)
    if (a.kind == kind) return a.name;
  CHECK(false, "activation {} has no name", static_cast<int>(kind));
}

const std::vector<Family>& table() {
  static const std::vector<Family> rows = [] {
    std::vector<Family> all = gpt_families();
    for (std::vector<Family> more : {decoder_families(), encoder_families()})
      for (Family& row : more) all.push_back(std::move(row));
    return all;
  }();
  return rows;
}

float probability(const JsonReader& json, const std::string& key, float otherwise) {
  return key.empty() ? 0.0f : static_cast<float>(json.number(key, 0, 0.999, otherwise));
}

std::int32_t token_id(const JsonReader& json, const std::string& key, std::int32_t otherwise) {
  if (!json.json().contains(key)) return otherwise;
  const Json& value = json.json()[key];
  if (value.is_null()) return -1;
  if (!value.is_array() || value.empty())
    return static_cast<std::int32_t>(json.integer(key, -1, 1 << 26, -1));
  for (const Json& id : value)
    CHECK_USER(
        id.is_number_integer() && id.get<std::int64_t>() >= 0 && id.get<std::int64_t>() <= 1 << 26,
        "{}: {} is {}; allowed: a token id or a list of them", json.origin(), key, brief(value));
  return value[0].get<std::int32_t>();
}

void read_sizes(const Family& row, const JsonReader& json, ModelConfig& c) {
  const ConfigKeys& k = row.keys;
  const ModelConfig& d = row.defaults;
  c.layers = json.integer(k.layers, 1, 10'000, d.layers);
  c.width = json.integer(k.width, 1, 1 << 20, d.width);
  c.heads = json.integer(k.heads, 1, 1 << 14, d.heads);
  const std::int64_t kv_default =
      json.json().contains(k.kv_heads) || d.kv_heads == 0 ? c.heads : d.kv_heads;
  c.kv_heads = k.kv_heads.empty()
                   ? c.heads
                   : json.integer(k.kv_heads, 1, 1 << 14, std::min(kv_default, c.heads));
  const bool own_dim = !k.head_dim.empty() && (json.has(k.head_dim) || d.head_dim > 0);
  CHECK_USER(own_dim || c.width % c.heads == 0,
             "{}: {} is {} and {} is {}; {} must be a multiple of {}", json.origin(), k.width,
             c.width, k.heads, c.heads, k.width, k.heads);
  c.head_dim = own_dim ? json.integer(k.head_dim, 1, 1 << 12, d.head_dim) : c.width / c.heads;
  c.ffn = json.integer(k.ffn, 1, 1 << 24, d.ffn > 0 ? d.ffn : 4 * c.width);
  c.vocab = json.integer("vocab_size", 1, 1 << 26, d.vocab);
  c.context = json.integer(k.context, 1, 1 << 26, d.context);
  if (!k.eps.empty()) c.norm_eps = static_cast<float>(json.number(k.eps, 1e-14, 0.5, d.norm_eps));
  if (json.has(k.activation))
    c.activation = activation_of(json.string(k.activation, ""), k.activation, json.origin());
  c.tied_head = json.boolean("tie_word_embeddings", d.tied_head);
  c.dropout_embedding = probability(json, k.dropout_embedding, d.dropout_embedding);
  c.dropout_attention = probability(json, k.dropout_attention, d.dropout_attention);
  c.dropout_residual = probability(json, k.dropout_residual, d.dropout_residual);
  c.dropout_head =
      probability(json, k.dropout_head,
                  k.dropout_head == "classifier_dropout" ? c.dropout_residual : d.dropout_head);
  c.init_std = static_cast<float>(json.number("initializer_range", 0, 100, d.init_std));
  c.eos_id = token_id(json, "eos_token_id", d.eos_id);
  c.bos_id = token_id(json, "bos_token_id", d.bos_id);
  c.pad_id = token_id(json, "pad_token_id", d.pad_id);
  c.mask_id = token_id(json, "mask_token_id", d.mask_id);
}

void write_sizes(const Family& row, const ModelConfig& c, Json& json) {
  const ConfigKeys& k = row.keys;
  json[k.layers] = c.layers;
  json[k.width] = c.width;
  json[k.heads] = c.heads;
  if (!k.kv_heads.empty()) json[k.kv_heads] = c.kv_heads;
  if (!k.head_dim.empty() &&
      (json.contains(k.head_dim) || c.head_dim * c.heads != c.width || row.defaults.head_dim > 0))
    json[k.head_dim] = c.head_dim;
  json[k.ffn] = k.ffn == "n_inner" && c.ffn == 4 * c.width ? Json(nullptr) : Json(c.ffn);
  json["vocab_size"] = c.vocab;
  if (!json.contains(k.context)) json[k.context] = c.context + c.first_position;
  if (!k.eps.empty()) json[k.eps] = short_decimal(c.norm_eps);
  if (!json.contains(k.activation)) json[k.activation] = name_of(c.activation);
  json["tie_word_embeddings"] = c.tied_head;
  const auto put = [&](const std::string& key, float p) {
    if (!key.empty()) json[key] = short_decimal(p);
  };
  put(k.dropout_embedding, c.dropout_embedding);
  put(k.dropout_attention, c.dropout_attention);
  if (k.dropout_residual != k.dropout_embedding) put(k.dropout_residual, c.dropout_residual);
  if (k.dropout_head != "classifier_dropout" || json.contains(k.dropout_head))
    put(k.dropout_head, c.dropout_head);
  json["initializer_range"] = short_decimal(c.init_std);
  const auto put_id = [&](const char* key, std::int32_t id) {
    if (!(json.contains(key) && json[key].is_array()))
      json[key] = id < 0 ? Json(nullptr) : Json(id);
  };
  put_id("eos_token_id", c.eos_id);
  put_id("bos_token_id", c.bos_id);
  if (c.pad_id >= 0 || json.contains("pad_token_id")) put_id("pad_token_id", c.pad_id);
  if (c.mask_id >= 0) put_id("mask_token_id", c.mask_id);
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// By the class that the file was saved from; a class of other heads gives its base model.
HeadKind head_of(const Family& row, const JsonReader& json) {
  const Json& all = json.json();
  const HeadKind usual = row.defaults.causal ? HeadKind::causal_lm : HeadKind::masked_lm;
  if (!all.contains("architectures") || !all["architectures"].is_array() ||
      all["architectures"].empty() || !all["architectures"][0].is_string())
    return usual;
  const auto name = all["architectures"][0].get<std::string>();
  if (ends_with(name, "ForCausalLM") || ends_with(name, "LMHeadModel") ||
      ends_with(name, "DoubleHeadsModel"))
    return HeadKind::causal_lm;
  if (ends_with(name, "ForMaskedLM") || ends_with(name, "ForPreTraining"))
    return HeadKind::masked_lm;
  if (ends_with(name, "ForSequenceClassification")) return HeadKind::classify;
  if (ends_with(name, "ForTokenClassification")) return HeadKind::classify_tokens;
  return HeadKind::base;
}

std::string filled(std::string pattern, std::int64_t layer, std::int64_t last) {
  const std::pair<const char*, std::int64_t> holes[] = {
      {"{}", layer}, {"{prev}", layer - 1}, {"{last}", last}};
  for (const auto& [hole, number] : holes)
    if (const std::size_t at = pattern.find(hole); at != std::string::npos)
      pattern.replace(at, std::string(hole).size(), std::to_string(number));
  return pattern;
}

}  // namespace

std::span<const Family> families() { return table(); }

std::span<const ActivationName> activation_names() { return kActivations; }

std::string usual_activation(const Family& row) {
  return row.keys.usual_activation.empty() ? name_of(row.defaults.activation)
                                           : row.keys.usual_activation;
}

const Family& family(const std::string& name) {
  std::string known;
  for (const Family& row : table()) {
    if (row.name == name) return row;
    known += (known.empty() ? "" : ", ") + row.name;
  }
  user_error("model family '{}' is not known; known families: {}", name, known);
}

void finish_sizes(ModelConfig& c) {
  const Family& row = family(c.family);
  if (row.defaults.attention_scale == 0)
    c.attention_scale = attention_scale_of(static_cast<double>(c.head_dim));
  if (row.defaults.embedding_scale == 0) c.embedding_scale = std::sqrt(static_cast<float>(c.width));
  if (c.labels.empty())
    for (std::int64_t i = 0; i < c.n_labels; ++i) c.labels.push_back(fmt::format("LABEL_{}", i));
}

void finish_fresh(ModelConfig& c) {
  const Family& row = family(c.family);
  if (row.fresh) row.fresh(c);
  if (c.positions == Positions::rope) {
    CHECK_USER(c.head_dim % 2 == 0,
               "--width is {} and --heads {}; family {} turns pairs of a head's dims: "
               "allowed: an even width / heads",
               c.width, c.heads, c.family);
    const double dims = static_cast<double>(c.head_dim) * row.rope.usual_share;
    c.rope.dims = std::max<std::int64_t>(2, static_cast<std::int64_t>(dims) / 2 * 2);
  }
  // A window that no context outgrows is none, where the row does not ask for one by layer.
  if (c.windowed.empty() && c.context <= c.window) c.window = 0;
  finish_sizes(c);
  c.attention_scale = attention_scale_of(static_cast<double>(c.head_dim));
  c.head_activation = c.activation;
}

ModelConfig fresh_config(const std::string& name) {
  ModelConfig c = family(name).defaults;
  c.family = name;
  return c;
}

ModelConfig config_from_json(const Json& json, const std::string& origin) {
  const JsonReader reader(json, origin);
  CHECK_USER(reader.has("model_type"), "{}: model_type is missing", origin);
  const std::string name = reader.string("model_type", "");
  const Family* row = nullptr;
  try {
    row = &family(name);
  } catch (const UserError& error) {
    user_error("{}: {}", origin, error.what());
  }
  return reading_json(origin, [&] {
    ModelConfig config = fresh_config(name);
    config.source = json;
    read_sizes(*row, reader, config);
    if (config.positions == Positions::rope) read_rope(reader, config);
    read_labels(reader, config);
    if (row->read) row->read(reader, config);
    finish_sizes(config);
    set_head(config, head_of(*row, reader));
    validate(config, origin);
    return config;
  });
}

std::vector<std::int32_t> end_tokens(const ModelConfig& c) {
  const Json listed = c.source.is_object() ? c.source.value("eos_token_id", Json()) : Json();
  if (listed.is_array() && !listed.empty() && listed[0] == c.eos_id)
    return listed.get<std::vector<std::int32_t>>();
  return c.eos_id < 0 ? std::vector<std::int32_t>{} : std::vector{c.eos_id};
}

ModelConfig read_hf_config(const std::filesystem::path& dir) {
  const std::filesystem::path file = dir / "config.json";
  return config_from_json(read_json_object(file), file.string());
}

Json write_hf_config(const ModelConfig& config) {
  const Family& row = family(config.family);
  Json json = config.source.is_object() ? config.source : Json::object();
  json["model_type"] = row.name;
  json["architectures"] = Json::array({architecture(config)});
  write_sizes(row, config, json);
  if (config.positions == Positions::rope) write_rope(config, json);
  if (row.write) row.write(config, json);
  write_labels(config, json);
  return json;
}

std::string printed_config(const ModelConfig& config) {
  OrderedJson sorted = write_hf_config(config);
  if (sorted.contains("id2label")) {  // by number: 2 before 10
    OrderedJson names = OrderedJson::object();
    for (std::size_t i = 0; i < config.labels.size(); ++i)
      names[std::to_string(i)] = config.labels[i];
    sorted["id2label"] = std::move(names);
  }
  return fmt::format("{}Config {}\n", family(config.family).class_name, json_ascii(sorted, 2));
}

void set_head(ModelConfig& c, HeadKind head) {
  const Family& row = family(c.family);
  const ModelConfig& d = row.defaults;
  const bool encoder = !d.causal;
  CHECK_USER(head != HeadKind::causal_lm || !row.causal_lm.empty(),
             "family {} has no {}; its heads: {}, {}", c.family, head_name(head),
             head_name(HeadKind::masked_lm), head_name(HeadKind::classify));
  CHECK_USER(head != HeadKind::masked_lm || encoder,
             "family {} reads from left to right and has no {}; its heads: {}, {}", c.family,
             head_name(head), head_name(HeadKind::causal_lm), head_name(HeadKind::classify));
  const bool labels_tokens =
      std::any_of(row.tensors.begin(), row.tensors.end(),
                  [](const TensorName& t) { return t.ours == "token_labels.weight"; });
  CHECK_USER(head != HeadKind::classify_tokens || labels_tokens,
             "family {} has no {}; its heads: {}, {}", c.family, head_name(head),
             head_name(encoder ? HeadKind::masked_lm : HeadKind::causal_lm),
             head_name(HeadKind::classify));
  c.head = head;
  const bool lm = c.has_lm_head();
  c.head_bias = lm && d.head_bias;
  c.head_transform = lm && d.head_transform;
  c.pooler = head == HeadKind::base && d.pooler;
  c.label_bias = head == HeadKind::classify_tokens || d.label_bias;
}

std::string architecture(const ModelConfig& c) {
  const Family& row = family(c.family);
  switch (c.head) {
    case HeadKind::causal_lm:
      return row.class_name + row.causal_lm;
    case HeadKind::masked_lm:
      return row.class_name + "ForMaskedLM";
    case HeadKind::classify:
      return row.class_name + "ForSequenceClassification";
    case HeadKind::classify_tokens:
      return row.class_name + "ForTokenClassification";
    case HeadKind::base:
      return row.class_name + "Model";
  }
  CHECK(false, "unknown head");
}

std::string head_name(HeadKind head) {
  const char* names[] = {"causal language model", "masked language model", "text classifier",
                         "token classifier", "base model"};
  return names[static_cast<std::size_t>(head)];
}

StoredParameter stored_parameter(const Family& row, const ModelConfig& config, const Parameter& p) {
  for (const TensorName& tensor : row.tensors) {
    if (filled(tensor.ours, p.layer, config.layers - 1) != p.name) continue;
    const auto place = static_cast<std::size_t>(&tensor - row.tensors.data());
    StoredParameter stored = {{}, tensor.layout, place};
    for (const std::string& name : tensor.hf)
      stored.parts.push_back(
          {(tensor.bare ? "" : row.prefix) + filled(name, p.layer, config.layers - 1), p.shape[0]});
    if (stored.parts.size() == 3) {
      stored.parts[0].rows = config.heads * config.head_dim;
      stored.parts[1].rows = stored.parts[2].rows = config.kv_heads * config.head_dim;
    } else if (stored.parts.size() == 2) {
      stored.parts[0].rows = stored.parts[1].rows = config.ffn;
    }
    return stored;
  }
  CHECK(false, "family {} has no name for {}", row.name, p.name);
}

}  // namespace weft
