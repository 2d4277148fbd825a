#include "formats/gguf/gguf_model.h"

#include <algorithm>

#include "core/check.h"
#include "formats/gguf/gguf_config.h"

namespace weft {
namespace {

// RoPE's frequencies are in the config; the classifier of a BERT reranker is no part of the model.
bool carries_no_weights(const std::string& name) {
  return name.starts_with("rope_freqs.") || name.starts_with("rope_factors_") ||
         name.ends_with(".attn_rot_embd.weight") || name.starts_with("cls.");
}

}  // namespace

GgufModel::GgufModel(const std::filesystem::path& file)
    : reader_(std::make_unique<GgufReader>(file)) {
  const std::string name = JsonReader(metadata(), this->file()).string("general.architecture", "");
  CHECK_USER(!name.empty(), "{}: general.architecture is missing; it is not a model", this->file());
  architecture_ = &gguf_architecture(*reader_);
  for (const auto& [tensor, unused] : reader_->tensors())
    CHECK_USER(carries_no_weights(tensor) || !hf_name_of(*architecture_, tensor).empty(),
               "{}: tensor {} is not known of a {} model", this->file(), tensor, name);
  config_ = reading_json(this->file(),
                         [&] { return hf_config_of_gguf(*reader_, *architecture_->family); });
}

std::optional<StoredTensor> GgufModel::find(const std::string& hf_name) const {
  const GgufMatch match = match_hf_name(*architecture_, hf_name);
  const StoredTensor* stored = match.row ? reader_->find(match.name) : nullptr;
  if (!stored) return std::nullopt;
  StoredTensor tensor = *stored;
  const auto reorder = [&](RowOrder order, std::int64_t heads, std::int64_t parts) {
    CHECK_USER(tensor.shape.rank() >= 1 && tensor.shape[0] % (parts * heads) == 0,
               "{}: tensor {} is {}, which {} heads do not divide", tensor.file, tensor.name,
               tensor.shape.str(), heads);
    tensor.row_order = order;
    tensor.row_heads = heads;
  };
  switch (match.row->change) {
    case GgufChange::none:
      break;
    case GgufChange::queries:
      reorder(RowOrder::rotated_pairs, config_["num_attention_heads"].get<std::int64_t>(), 2);
      break;
    case GgufChange::keys:
      reorder(RowOrder::rotated_pairs, config_["num_key_value_heads"].get<std::int64_t>(), 2);
      break;
    case GgufChange::qkv:
      reorder(RowOrder::qkv_by_part, config_["num_attention_heads"].get<std::int64_t>(), 3);
      break;
    case GgufChange::plus_one:
      tensor.offset = -1;
      break;
    case GgufChange::turned:
      if (match.is_bias) break;
      CHECK_USER(tensor.shape.rank() == 2, "{}: tensor {} is {}; it must have two dims",
                 tensor.file, tensor.name, tensor.shape.str());
      tensor.shape = Dims{tensor.shape[1], tensor.shape[0]};
      tensor.transposed = true;
      break;
  }
  return tensor;
}

std::vector<std::string> GgufModel::names() const {
  std::vector<std::string> list;
  for (const auto& [tensor, unused] : reader_->tensors())
    if (std::string name = hf_name_of(*architecture_, tensor); !name.empty())
      list.push_back(std::move(name));
  std::sort(list.begin(), list.end());
  return list;
}

}  // namespace weft
