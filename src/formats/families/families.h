// Model families as data: each row maps a Hugging Face config.json and its tensor names to
// ModelConfig and the registry, to transformers' classes and to GGUF. The rows: families_gpt.cpp,
// families_decoder.cpp (shaped like Llama), families_encoder.cpp. A new family is a row; what it
// computes beyond the others is a knob of ModelConfig.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "formats/families/gguf_row.h"
#include "formats/families/module_row.h"
#include "model/config.h"
#include "model/parameters.h"

namespace weft {

// How a registry parameter is laid out in a Hugging Face file.
enum class Layout : std::uint8_t {
  straight,
  transposed,  // (in, out), as transformers' Conv1D
  by_head,  // rows head by head: its query, its key, its value (NeoX); ours: all queries, all keys,
            // all values
};

// Where a registry parameter is found. In the patterns "{}" is the layer, "{prev}" the one before
// it, "{last}" the last one. Several names: their rows follow each other in ours (query, key,
// value; gate, up).
struct TensorName {
  std::string ours;             // "layers.{}.attn.qkv.weight"
  std::vector<std::string> hf;  // {"h.{}.attn.c_attn.weight"}
  Layout layout = Layout::straight;
  bool bare = false;  // stands outside the base model: the prefix is not for it
};

// How a family's config.json spells what all families have. Empty: it has none of it.
struct ConfigKeys {
  std::string layers = "num_hidden_layers", width = "hidden_size", heads = "num_attention_heads",
              kv_heads = "num_key_value_heads", head_dim = "head_dim", ffn = "intermediate_size",
              context = "max_position_embeddings", eps = "rms_norm_eps", activation = "hidden_act",
              dropout_embedding = "", dropout_attention = "attention_dropout",
              dropout_residual = "", dropout_head = "";
  // The word for the activation where the file has none; empty: the first one that fits.
  std::string usual_activation = "";
};

// How its config.json spells rotary positions, at the top and in rope_parameters.
struct RopeKeys {
  std::string theta = "rope_theta";             // at the top
  std::string share = "partial_rotary_factor";  // at the top: of a head's dims, those that turn
  double usual_share = 1;                       // where none is named, and of a fresh model
  bool yarn_is_longrope = false;                // "yarn" was an early name of it (Phi-3)
};

struct Family {
  std::string name;                       // model_type
  std::string class_name;                 // "Llama": LlamaForCausalLM, LlamaModel, …
  std::string causal_lm = "ForCausalLM";  // what the causal LM is called behind it; empty: none
  std::string prefix;    // written before every tensor's name, with its dot; optional when reading
  ModelConfig defaults;  // the config class's, for keys that are missing
  ConfigKeys keys;
  RopeKeys rope = {};
  std::vector<TensorName> tensors;  // in the order in which the class makes them
  // Behind the prefix: what transformers' classes hold too but nothing here computes with; kept
  // from folder to folder.
  std::vector<std::string> carried = {};
  // Endings that other writers give a tensor: ours in the file, theirs.
  std::vector<std::pair<std::string, std::string>> aliases;
  // What the keys do not cover. UserErrors name the file and the key.
  std::function<void(const JsonReader&, ModelConfig&)> read;
  // Sets what the config decides and `read` reads.
  std::function<void(const ModelConfig&, Json&)> write;
  // What a fresh model has beyond `defaults`, once its sizes and special tokens are set; UserErrors
  // as finish_fresh.
  std::function<void(ModelConfig&)> fresh;
  GgufRow gguf = {};
  std::vector<ModuleRow> modules = {};
  bool head_first = false;  // transformers' classes make their head before the base model
};

// They live as long as the program.
std::span<const Family> families();
const Family& family(const std::string& name);  // UserError with the list when unknown

// config.json of a Hugging Face directory. UserErrors name the file and the key.
ModelConfig read_hf_config(const std::filesystem::path& dir);
// The same from an object that is not kept; `origin` stands before the errors.
ModelConfig config_from_json(const Json& json, const std::string& origin);
// All that its eos_token_id lists; eos_id is the first.
std::vector<std::int32_t> end_tokens(const ModelConfig& config);
Json write_hf_config(const ModelConfig& config);
// As transformers' print(model.config): the class's name and config.json's keys, sorted.
std::string printed_config(const ModelConfig& config);
// A model of the family with its class's defaults; sizes and special tokens are the caller's to
// set, then finish_sizes or finish_fresh.
ModelConfig fresh_config(const std::string& family);
// Sets what follows from the sizes (attention scale, embedding scale, labels' names).
void finish_sizes(ModelConfig& config);
// finish_sizes for a model that no file describes: also rope dims, the window, and what the row's
// `fresh` sets. UserErrors name the options of `weft train`: sizes that the family cannot have, a
// tokenizer that lacks a special token.
void finish_fresh(ModelConfig& config);

// The model with another head: its parameters, its class name. UserError where the family has none
// of the kind.
void set_head(ModelConfig& config, HeadKind head);
std::string architecture(const ModelConfig& config);  // "BertForMaskedLM"
std::string head_name(HeadKind head);                 // "masked language model"

// A parameter in a file: the names whose rows make it up, with prefix, and the layout.
struct StoredParameter {
  struct Part {
    std::string name;
    std::int64_t rows = 0;  // of ours
  };
  std::vector<Part> parts;
  Layout layout = Layout::straight;
  std::size_t place = 0;  // in Family::tensors
};
StoredParameter stored_parameter(const Family& family, const ModelConfig& config,
                                 const Parameter& parameter);

// config.json's words for activations: the class of transformers/activations.py that each names.
struct ActivationName {
  const char* name;
  Activation kind;
  const char* class_name;
};
std::span<const ActivationName> activation_names();
// The word that a fresh config of the family is given.
std::string usual_activation(const Family& family);

// The rows of the table, for families.cpp.
std::vector<Family> gpt_families();
std::vector<Family> decoder_families();
std::vector<Family> encoder_families();
// Rows of models that GGUF files may hold, with names and config.json, but that nothing here
// computes: their name, keys, tensors and `gguf` alone count.
std::vector<Family> gguf_families();

}  // namespace weft
