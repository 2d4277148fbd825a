#include "model/config.h"

#include "core/check.h"

namespace weft {
namespace {

void check_range(const std::string& origin, const char* key, std::int64_t value, std::int64_t max) {
  CHECK_USER(value >= 1 && value <= max, "{}: {} is {}; allowed: 1 to {}", origin, key, value, max);
}

}  // namespace

void validate(const ModelConfig& c, const std::string& origin) {
  check_range(origin, "the number of layers", c.layers, 10'000);
  check_range(origin, "the width", c.width, 1 << 20);
  check_range(origin, "the number of heads", c.heads, 1 << 14);
  check_range(origin, "the number of KV heads", c.kv_heads, c.heads);
  check_range(origin, "the head dim", c.head_dim, 1 << 12);
  check_range(origin, "the feed-forward width", c.ffn, 1 << 24);
  check_range(origin, "the vocabulary size", c.vocab, 1 << 26);
  check_range(origin, "the context length", c.context, 1 << 26);
  CHECK_USER(c.heads % c.kv_heads == 0, "{}: {} heads are not a multiple of {} KV heads", origin, c.heads, c.kv_heads);
  CHECK_USER(c.norm_eps > 0 && c.norm_eps < 1, "{}: the norm's epsilon is {}; allowed: above 0, below 1", origin, c.norm_eps);
  for (float p : {c.dropout_embedding, c.dropout_attention, c.dropout_residual})
    CHECK_USER(p >= 0 && p < 1, "{}: a dropout probability is {}; allowed: 0 up to, not including, 1", origin, p);
  CHECK_USER(c.init_std >= 0 && c.init_std < 100, "{}: initializer_range is {}; allowed: 0 to 100", origin, c.init_std);
}

std::string first_difference(const ModelConfig& a, const ModelConfig& b) {
  const auto differ = [](const char* what, const auto& x, const auto& y) { return fmt::format("{} is {}, not {}", what, x, y); };
  if (a.family != b.family) return differ("family", a.family, b.family);
  if (a.layers != b.layers) return differ("layers", a.layers, b.layers);
  if (a.width != b.width) return differ("width", a.width, b.width);
  if (a.heads != b.heads) return differ("heads", a.heads, b.heads);
  if (a.kv_heads != b.kv_heads) return differ("KV heads", a.kv_heads, b.kv_heads);
  if (a.head_dim != b.head_dim) return differ("head dim", a.head_dim, b.head_dim);
  if (a.ffn != b.ffn) return differ("feed-forward width", a.ffn, b.ffn);
  if (a.vocab != b.vocab) return differ("vocabulary", a.vocab, b.vocab);
  if (a.context != b.context) return differ("context", a.context, b.context);
  if (a.norm_eps != b.norm_eps) return differ("norm epsilon", a.norm_eps, b.norm_eps);
  if (a.activation != b.activation) return differ("activation", static_cast<int>(a.activation), static_cast<int>(b.activation));
  if (a.attention_scale != b.attention_scale) return differ("attention scale", a.attention_scale, b.attention_scale);
  if (a.scale_by_inverse_layer != b.scale_by_inverse_layer)
    return differ("scale_attn_by_inverse_layer_idx", a.scale_by_inverse_layer, b.scale_by_inverse_layer);
  if (a.tied_head != b.tied_head) return differ("tied head", a.tied_head, b.tied_head);
  return "";
}

}  // namespace weft
