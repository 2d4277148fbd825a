#include "formats/families/gguf_row.h"

namespace weft {

GgufSetting gguf_constant(const std::string& key, Json value) {
  return [=](const GgufKeys&, Json& config) { config[key] = value; };
}

GgufSetting gguf_number(const std::string& key, const std::string& name, double otherwise) {
  return [=](const GgufKeys& from, Json& config) { config[key] = from.number(name, otherwise); };
}

GgufSetting gguf_number(const std::string& key, const std::string& name) {
  return [=](const GgufKeys& from, Json& config) {
    if (from.has(name)) config[key] = from.number(name, 0);
  };
}

GgufSetting gguf_integer(const std::string& key, const std::string& name) {
  return [=](const GgufKeys& from, Json& config) {
    if (from.has(name)) config[key] = from.integer(name);
  };
}

GgufSetting gguf_number_or_null(const std::string& key, const std::string& name) {
  return [=](const GgufKeys& from, Json& config) {
    config[key] = from.has(name) ? Json(from.number(name, 0)) : Json();
  };
}

GgufSetting gguf_boolean(const std::string& key, const std::string& name, bool otherwise) {
  return [=](const GgufKeys& from, Json& config) {
    config[key] = from.json.boolean(from.key(name), otherwise);
  };
}

GgufSetting gguf_has_tensor(const std::string& key, const std::string& tensor) {
  return
      [=](const GgufKeys& from, Json& config) { config[key] = from.file.find(tensor) != nullptr; };
}

GgufSetting gguf_rows(const std::string& key, const std::string& tensor) {
  return [=](const GgufKeys& from, Json& config) {
    const StoredTensor* matrix = from.file.find(tensor);
    config[key] = matrix && matrix->shape.rank() == 2 ? matrix->shape[0] : 1;
  };
}

GgufSetting gguf_window() {
  return [](const GgufKeys& from, Json& config) {
    const std::string name = "attention.sliding_window";
    const std::int64_t window = from.has(name) ? from.json.integer(from.key(name), 0, 1 << 26) : 0;
    config["sliding_window"] = window > 0 ? Json(window) : Json();
  };
}

GgufSetting gguf_query_scalar(std::int64_t layers_that_differ) {
  return [=](const GgufKeys& from, Json& config) {
    const bool differs = config["num_hidden_layers"] == layers_that_differ;
    const auto width = config["hidden_size"].get<std::int64_t>(),
               heads = config["num_attention_heads"].get<std::int64_t>();
    config["query_pre_attn_scalar"] = differs ? Json(width / heads) : config["head_dim"];
    if (const double scale = from.number("attention.scale", 0); scale > 0)
      config["query_pre_attn_scalar"] = 1 / (scale * scale);
  };
}

}  // namespace weft
