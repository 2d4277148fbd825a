#include "model/config.h"

#include "core/check.h"
#include "model/limits.h"

namespace weft {
namespace {

void check_range(const std::string& origin, const char* key, std::int64_t value, std::int64_t max) {
  CHECK_USER(value >= 1 && value <= max, "{}: {} is {}; allowed: 1 to {}", origin, key, value, max);
}

void validate_rope(const ModelConfig& c, const std::string& origin) {
  const Rope& r = c.rope;
  CHECK_USER(r.dims >= 2 && r.dims % 2 == 0 && r.dims <= c.head_dim,
             "{}: {} of the {} dims of a head turn by position; allowed: an even number, 2 to {}",
             origin, r.dims, c.head_dim, c.head_dim);
  CHECK_USER(r.theta > 0 && r.theta < 1e18, "{}: rope_theta is {}; allowed: above 0, below 1e18",
             origin, r.theta);
  CHECK_USER(r.factor > 0 && r.factor < 1e9,
             "{}: the rope scaling factor is {}; allowed: above 0, below 1e9", origin, r.factor);
  const bool stretched = r.scaling == RopeScaling::llama3 || r.scaling == RopeScaling::yarn ||
                         r.scaling == RopeScaling::longrope;
  if (stretched)
    check_range(origin, "original_max_position_embeddings", r.original_context, 1 << 26);
  if (r.scaling == RopeScaling::llama3)
    CHECK_USER(r.low_freq_factor > 0 && r.high_freq_factor > r.low_freq_factor,
               "{}: low_freq_factor is {} and high_freq_factor {}; allowed: 0 < low < high", origin,
               r.low_freq_factor, r.high_freq_factor);
  const auto half = static_cast<std::size_t>(r.dims / 2);
  for (const auto* list : {&r.short_factors, &r.long_factors}) {
    const bool needed = r.scaling == RopeScaling::longrope ||
                        (r.scaling == RopeScaling::factors && list == &r.short_factors);
    CHECK_USER(!needed || list->size() == half,
               "{}: a list of rope factors has {} entries; allowed: {}, half the dims that turn",
               origin, list->size(), half);
    for (double f : *list)
      CHECK_USER(f > 0 && f < 1e9, "{}: a rope factor is {}; allowed: above 0, below 1e9", origin,
                 f);
  }
}

}  // namespace

void validate(const ModelConfig& c, const std::string& origin) {
  check_range(origin, "the number of layers", c.layers, kMaxLayers);
  check_range(origin, "the width", c.width, kMaxWidth);
  check_range(origin, "the number of heads", c.heads, kMaxHeads);
  check_range(origin, "the number of KV heads", c.kv_heads, c.heads);
  check_range(origin, "the head dim", c.head_dim, 1 << 12);
  check_range(origin, "the feed-forward width", c.ffn, kMaxFfn);
  check_range(origin, "the vocabulary size", c.vocab, kMaxVocab);
  check_range(origin, "the context length", c.context, kMaxContext);
  CHECK_USER(c.heads % c.kv_heads == 0, "{}: {} heads are not a multiple of {} KV heads", origin,
             c.heads, c.kv_heads);
  CHECK_USER(c.norm_eps > 0 && c.norm_eps < 1,
             "{}: the norm's epsilon is {}; allowed: above 0, below 1", origin, c.norm_eps);
  if (c.positions == Positions::rope) validate_rope(c, origin);
  CHECK_USER(c.first_position >= 0 && c.first_position <= 1 << 26,
             "{}: the first position is {}; allowed: 0 to {}", origin, c.first_position, 1 << 26);
  CHECK_USER(c.windowed.empty() || static_cast<std::int64_t>(c.windowed.size()) == c.layers,
             "{}: layer_types has {} entries for {} layers", origin, c.windowed.size(), c.layers);
  CHECK_USER(c.window >= 0 && c.window <= 1 << 26, "{}: the sliding window is {}; allowed: 1 to {}",
             origin, c.window, 1 << 26);
  CHECK_USER(c.attention_softcap >= 0 && c.logit_softcap >= 0, "{}: a soft cap is below 0", origin);
  if (c.has_label_head()) check_range(origin, "num_labels", c.n_labels, 1 << 20);
  for (float p : {c.dropout_embedding, c.dropout_attention, c.dropout_residual, c.dropout_head})
    CHECK_USER(p >= 0 && p < 1,
               "{}: a dropout probability is {}; allowed: 0 up to, not including, 1", origin, p);
  CHECK_USER(c.init_std >= 0 && c.init_std < 100, "{}: initializer_range is {}; allowed: 0 to 100",
             origin, c.init_std);
  CHECK_USER(!c.token_dropout || c.mask_id >= 0,
             "{}: token_dropout is true, but mask_token_id is missing", origin);
  CHECK_USER(!c.pad_keeps_position || c.pad_id >= 0,
             "{}: pad_token_id is missing; positions are counted from it", origin);
}

namespace {

std::string as_text(const std::string& s) { return s; }
std::string as_text(float x) { return fmt::format("{}", x); }
std::string as_text(double x) { return fmt::format("{}", x); }
std::string as_text(bool x) { return x ? "true" : "false"; }
template <class T>
std::string as_text(const std::vector<T>& list) {
  return fmt::format("[{}]", fmt::join(list, ", "));
}
template <class T>
requires std::is_enum_v<T> || std::is_integral_v<T> std::string as_text(T x) {
  return std::to_string(static_cast<std::int64_t>(x));
}

// Every field that decides a parameter or an operation, once.
template <class Each>
void each_field(const ModelConfig& a, const ModelConfig& b, const Each& each) {
#define FIELD(what, member) each(what, a.member, b.member)
  FIELD("family", family);
  FIELD("layers", layers);
  FIELD("width", width);
  FIELD("heads", heads);
  FIELD("KV heads", kv_heads);
  FIELD("head dim", head_dim);
  FIELD("feed-forward width", ffn);
  FIELD("vocabulary", vocab);
  FIELD("context", context);
  FIELD("norm", norm);
  FIELD("norm place", norm_place);
  FIELD("norm epsilon", norm_eps);
  FIELD("norm offset", norm_offset);
  FIELD("parallel residual", parallel_residual);
  FIELD("positions", positions);
  FIELD("first position", first_position);
  FIELD("rope scaling", rope.scaling);
  FIELD("rope theta", rope.theta);
  FIELD("rope dims", rope.dims);
  FIELD("rope factor", rope.factor);
  FIELD("rope original context", rope.original_context);
  FIELD("rope low_freq_factor", rope.low_freq_factor);
  FIELD("rope high_freq_factor", rope.high_freq_factor);
  FIELD("rope beta_fast", rope.beta_fast);
  FIELD("rope beta_slow", rope.beta_slow);
  FIELD("rope truncate", rope.truncate);
  FIELD("rope attention factor", rope.attention_factor);
  FIELD("rope short factors", rope.short_factors);
  FIELD("rope long factors", rope.long_factors);
  FIELD("token types", token_types);
  FIELD("embedding norm", embedding_norm);
  FIELD("embedding scale", embedding_scale);
  FIELD("token dropout", token_dropout);
  FIELD("activation", activation);
  FIELD("gated MLP", gated);
  FIELD("query, key and value bias", qkv_bias);
  FIELD("attention output bias", out_bias);
  FIELD("MLP bias", mlp_bias);
  FIELD("attention scale", attention_scale);
  FIELD("scale_attn_by_inverse_layer_idx", scale_by_inverse_layer);
  FIELD("attention soft cap", attention_softcap);
  FIELD("logit soft cap", logit_softcap);
  FIELD("sliding window", window);
  FIELD("windowed layers", windowed);
  FIELD("causal", causal);
  FIELD("head", head);
  FIELD("tied head", tied_head);
  FIELD("head bias", head_bias);
  FIELD("head transform", head_transform);
  FIELD("pooling", pooling);
  FIELD("pooler", pooler);
  if (a.has_label_head()) {
    FIELD("labels", n_labels);
    FIELD("problem type", problem);
  }
#undef FIELD
}

}  // namespace

std::string first_difference(const ModelConfig& a, const ModelConfig& b) {
  std::string first;
  each_field(a, b, [&](const char* what, const auto& x, const auto& y) {
    if (first.empty() && x != y)
      first = fmt::format("{} is {}, not {}", what, as_text(x), as_text(y));
  });
  return first;
}

}  // namespace weft
