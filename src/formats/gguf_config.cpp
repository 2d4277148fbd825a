#include "formats/gguf_config.h"

#include <cmath>
#include <numbers>

#include "core/check.h"
#include "formats/gguf_rope.h"

namespace weft {
namespace {

constexpr std::int64_t kMany = 1 << 26;

// The keys "llama.block_count" as key("block_count").
struct Source {
  const GgufReader& file;
  std::string architecture;
  JsonReader json{file.metadata(), file.file()};

  std::string key(const std::string& name) const { return architecture + "." + name; }
  bool has(const std::string& name) const { return json.has(key(name)); }
  std::int64_t integer(const std::string& name, std::int64_t most = kMany) const {
    return json.integer(key(name), 1, most);
  }
  double number(const std::string& name, double otherwise) const {
    return json.number(key(name), -1e30, 1e30, otherwise);
  }
  bool has_tensor(const std::string& name) const { return file.find(name) != nullptr; }

  // A count that some models give for each layer; then all must be equal.
  std::int64_t per_layer(const std::string& name, std::int64_t most) const {
    const Json value = json.json().value(key(name), Json());
    if (!value.is_array()) return integer(name, most);
    CHECK_USER(!value.empty(), "{}: {} is an empty list", json.origin(), key(name));
    for (const Json& one : value)
      CHECK_USER(one == value[0],
                 "{}: {} differs between layers ({} and {}); allowed: the same in all",
                 json.origin(), key(name), brief(value[0]), brief(one));
    return JsonReader(Json{{key(name), value[0]}}, json.origin()).integer(key(name), 1, most);
  }
};

std::int64_t vocab_size(const Source& from) {
  const StoredTensor* embedding = from.file.find("token_embd.weight");
  CHECK_USER(embedding && embedding->shape.rank() == 2,
             "{}: tensor token_embd.weight is missing or no matrix", from.json.origin());
  return embedding->shape[0];  // the list of tokens may be shorter than the padded matrix
}

void put_token_ids(const Source& from, Json& config) {
  constexpr std::pair<const char*, const char*> kIds[] = {
      {"bos", "bos"}, {"eos", "eos"}, {"pad", "padding"}};
  for (const auto& [hf, gguf] : kIds) {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", gguf);
    if (from.json.has(key))
      config[fmt::format("{}_token_id", hf)] = from.json.integer(key, 0, kMany);
  }
}

struct Heads {
  std::int64_t all, kv, dim;
};
Heads heads_of(const Source& from) {
  Heads h{from.per_layer("attention.head_count", 1 << 14), 0, 0};
  h.kv = from.has("attention.head_count_kv") ? from.per_layer("attention.head_count_kv", 1 << 14)
                                             : h.all;
  CHECK_USER(h.all % h.kv == 0,
             "{}: {} is {} and {} is {}; the first must be a multiple of the second",
             from.json.origin(), from.key("attention.head_count"), h.all,
             from.key("attention.head_count_kv"), h.kv);
  const std::int64_t width = from.integer("embedding_length");
  if (from.has("attention.key_length")) {
    h.dim = from.integer("attention.key_length");
    CHECK_USER(
        !from.has("attention.value_length") || from.integer("attention.value_length") == h.dim,
        "{}: {} is not {}; they must be equal", from.json.origin(),
        from.key("attention.value_length"), from.key("attention.key_length"));
  } else {
    CHECK_USER(width % h.all == 0,
               "{}: {} is {} and {} is {}; the first must be a multiple of the second",
               from.json.origin(), from.key("embedding_length"), width,
               from.key("attention.head_count"), h.all);
    h.dim = width / h.all;
  }
  return h;
}

void put_partial_rotary(const Source& from, const Heads& h, const char* key, Json& config) {
  const std::int64_t rotated =
      from.has("rope.dimension_count") ? from.integer("rope.dimension_count") : h.dim;
  CHECK_USER(rotated <= h.dim && rotated % 2 == 0,
             "{}: {} is {}; allowed: even numbers up to the head's {}", from.json.origin(),
             from.key("rope.dimension_count"), rotated, h.dim);
  if (rotated != h.dim) config[key] = static_cast<double>(rotated) / static_cast<double>(h.dim);
}

void put_rope_scaling(const Source& from, const Heads& h, Json& config) {
  const RopeSource rope = {from.file, from.architecture, h.dim, config["rope_theta"].get<double>()};
  if (Json scaling = rope_scaling_of_gguf(rope); !scaling.is_null())
    config["rope_scaling"] = std::move(scaling);
  if (config.contains("rope_scaling")) return;
  if (Json factors = rope_factors_of_gguf(rope); !factors.is_null())
    config["rope_factors"] = std::move(factors);
}

// What all but GPT-2 call alike.
Json sizes(const Source& from, const Heads& h, const char* model_type, const char* architecture) {
  return {{"model_type", model_type},
          {"architectures", {architecture}},
          {"vocab_size", vocab_size(from)},
          {"hidden_size", from.integer("embedding_length")},
          {"intermediate_size", from.per_layer("feed_forward_length", kMany)},
          {"num_hidden_layers", from.integer("block_count", 10'000)},
          {"num_attention_heads", h.all},
          {"max_position_embeddings", from.integer("context_length")}};
}

// What Llama and all that are shaped like it share.
Json decoder(const Source& from, const char* model_type, const char* architecture) {
  CHECK_USER(
      !from.has("expert_count") || from.json.integer(from.key("expert_count"), 0, kMany) == 0,
      "{}: {} is {}; mixtures of experts are not supported", from.json.origin(),
      from.key("expert_count"), from.json.integer(from.key("expert_count"), 0, kMany));
  const Heads h = heads_of(from);
  Json config = sizes(from, h, model_type, architecture);
  config["num_key_value_heads"] = h.kv;
  config["head_dim"] = h.dim;
  config["rope_theta"] = from.number("rope.freq_base", 10000.0);
  config["tie_word_embeddings"] = !from.has_tensor("output.weight");
  config["hidden_act"] = "silu";
  if (from.has("attention.layer_norm_rms_epsilon"))
    config["rms_norm_eps"] = from.number("attention.layer_norm_rms_epsilon", 0);
  put_token_ids(from, config);
  put_partial_rotary(from, h, "partial_rotary_factor", config);
  put_rope_scaling(from, h, config);
  return config;
}

void put_sliding_window(const Source& from, Json& config) {
  const std::int64_t window =
      from.has("attention.sliding_window")
          ? from.json.integer(from.key("attention.sliding_window"), 0, kMany)
          : 0;
  config["sliding_window"] = window > 0 ? Json(window) : Json();
}

Json llama(const Source& from) {
  const bool is_mistral = from.has("attention.sliding_window");  // Llama's class has no window
  Json config = is_mistral ? decoder(from, "mistral", "MistralForCausalLM")
                           : decoder(from, "llama", "LlamaForCausalLM");
  if (is_mistral) put_sliding_window(from, config);
  config["attention_bias"] = from.has_tensor("blk.0.attn_q.bias");
  config["mlp_bias"] = from.has_tensor("blk.0.ffn_up.bias");
  return config;
}

Json qwen2(const Source& from) {
  Json config = decoder(from, "qwen2", "Qwen2ForCausalLM");
  config["use_sliding_window"] = false;
  return config;
}

Json qwen3(const Source& from) {
  Json config = decoder(from, "qwen3", "Qwen3ForCausalLM");
  config["attention_bias"] = from.has_tensor("blk.0.attn_q.bias");
  config["use_sliding_window"] = false;
  return config;
}

Json phi3(const Source& from) {
  Json config = decoder(from, "phi3", "Phi3ForCausalLM");
  put_sliding_window(from, config);
  if (from.has("rope.scaling.original_context_length"))
    config["original_max_position_embeddings"] =
        from.integer("rope.scaling.original_context_length");
  return config;
}

// The scale of q·k is 1 / sqrt(query_pre_attn_scalar). Files do not tell it: llama.cpp too knows
// the one size that differs by its layers.
void put_query_scalar(const Source& from, std::int64_t layers_that_differ, Json& config) {
  const bool differs = config["num_hidden_layers"] == layers_that_differ;
  const auto width = config["hidden_size"].get<std::int64_t>(),
             heads = config["num_attention_heads"].get<std::int64_t>();
  config["query_pre_attn_scalar"] = differs ? Json(width / heads) : config["head_dim"];
  if (const double scale = from.number("attention.scale", 0); scale > 0)
    config["query_pre_attn_scalar"] = 1 / (scale * scale);
}

Json gemma_like(const Source& from, const char* model_type, const char* architecture) {
  Json config = decoder(from, model_type, architecture);
  config["hidden_act"] = config["hidden_activation"] = "gelu_pytorch_tanh";
  config["attention_bias"] = false;
  return config;
}

Json gemma2(const Source& from) {
  Json config = gemma_like(from, "gemma2", "Gemma2ForCausalLM");
  put_sliding_window(from, config);
  if (from.has("attn_logit_softcapping"))
    config["attn_logit_softcapping"] = from.number("attn_logit_softcapping", 0);
  if (from.has("final_logit_softcapping"))
    config["final_logit_softcapping"] = from.number("final_logit_softcapping", 0);
  put_query_scalar(from, 46, config);
  return config;
}

Json gemma3(const Source& from) {
  Json config = gemma_like(from, "gemma3_text", "Gemma3ForCausalLM");
  put_sliding_window(from, config);
  if (!from.has("rope.freq_base"))
    config["rope_theta"] = 1'000'000.0;  // the class's, and llama.cpp's for files without the key
  config["rope_local_base_freq"] = from.number("rope.freq_base_swa", 10000.0);
  config["sliding_window_pattern"] = 6;
  config["attn_logit_softcapping"] = nullptr;
  config["final_logit_softcapping"] = from.has("final_logit_softcapping")
                                          ? Json(from.number("final_logit_softcapping", 0))
                                          : Json();
  put_query_scalar(from, 62, config);
  return config;
}

Json starcoder2(const Source& from) {
  Json config = decoder(from, "starcoder2", "Starcoder2ForCausalLM");
  put_sliding_window(from, config);
  config["hidden_act"] = "gelu_pytorch_tanh";
  config["norm_epsilon"] = from.number("attention.layer_norm_epsilon", 1e-5);
  config["use_bias"] = from.has_tensor("blk.0.attn_q.bias");
  return config;
}

Json gpt2(const Source& from) {
  const Heads h = heads_of(from);
  Json config = {{"model_type", "gpt2"},
                 {"architectures", {"GPT2LMHeadModel"}},
                 {"vocab_size", vocab_size(from)},
                 {"n_layer", from.integer("block_count", 10'000)},
                 {"n_embd", from.integer("embedding_length")},
                 {"n_head", h.all},
                 {"n_inner", from.integer("feed_forward_length")},
                 {"n_positions", from.integer("context_length")},
                 {"layer_norm_epsilon", from.number("attention.layer_norm_epsilon", 1e-5)},
                 {"activation_function", "gelu_new"},
                 {"tie_word_embeddings", !from.has_tensor("output.weight")}};
  put_token_ids(from, config);
  return config;
}

Json gptneox(const Source& from) {
  const Heads h = heads_of(from);
  Json config = sizes(from, h, "gpt_neox", "GPTNeoXForCausalLM");
  config["layer_norm_eps"] = from.number("attention.layer_norm_epsilon", 1e-5);
  config["rotary_emb_base"] = from.number("rope.freq_base", 10000.0);
  config["rotary_pct"] = 1.0;
  config["use_parallel_residual"] = from.json.boolean(from.key("use_parallel_residual"), true);
  config["attention_bias"] = from.has_tensor("blk.0.attn_qkv.bias");
  config["hidden_act"] = "gelu";
  config["tie_word_embeddings"] = !from.has_tensor("output.weight");
  put_token_ids(from, config);
  put_partial_rotary(from, h, "rotary_pct", config);
  return config;
}

Json bert(const Source& from) {
  const Heads h = heads_of(from);
  const StoredTensor* types = from.file.find("token_types.weight");
  Json config = sizes(from, h, "bert", "BertModel");
  config["layer_norm_eps"] = from.number("attention.layer_norm_epsilon", 1e-12);
  config["type_vocab_size"] = types && types->shape.rank() == 2 ? types->shape[0] : 1;
  config["hidden_act"] = "gelu";
  put_token_ids(from, config);
  return config;
}

}  // namespace

Json hf_config_of_gguf(const GgufReader& file) {
  const Source from{file,
                    JsonReader(file.metadata(), file.file()).string("general.architecture", "")};
  if (from.architecture == "llama") return llama(from);
  if (from.architecture == "qwen2") return qwen2(from);
  if (from.architecture == "qwen3") return qwen3(from);
  if (from.architecture == "phi3") return phi3(from);
  if (from.architecture == "gemma") return gemma_like(from, "gemma", "GemmaForCausalLM");
  if (from.architecture == "gemma2") return gemma2(from);
  if (from.architecture == "gemma3") return gemma3(from);
  if (from.architecture == "starcoder2") return starcoder2(from);
  if (from.architecture == "gpt2") return gpt2(from);
  if (from.architecture == "gptneox") return gptneox(from);
  if (from.architecture == "bert") return bert(from);
  user_error(
      "{}: general.architecture is '{}'; allowed: llama, qwen2, qwen3, phi3, gemma, gemma2, "
      "gemma3, starcoder2, gpt2, gptneox, bert",
      file.file(), from.architecture);
}

}  // namespace weft
