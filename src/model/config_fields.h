// The fields of ModelConfig, visited once: what they are called, what they may be and what they
// decide. Validation, equality and logging (model/config.h) come from this list, in its order.
#pragma once

#include "core/fields.h"
#include "model/config.h"
#include "model/limits.h"

namespace weft {

// What a field decides in this config.
enum class Decides : std::uint8_t {
  model,     // which parameters there are or how they are computed with; compared
  training,  // how a fresh model begins or is trained: dropout, initial values
  text,      // what goes in and comes out is called: special tokens, labels' names
  nothing,   // another field switches it off
};

constexpr Word<NormKind> kNormKinds[] = {{"layer", NormKind::layer}, {"rms", NormKind::rms}};
constexpr Word<NormPlace> kNormPlaces[] = {{"pre", NormPlace::pre},
                                           {"post", NormPlace::post},
                                           {"sandwich", NormPlace::sandwich},
                                           {"output", NormPlace::output}};
constexpr Word<QkNorm> kQkNorms[] = {
    {"none", QkNorm::none}, {"per_head", QkNorm::per_head}, {"whole", QkNorm::whole}};
constexpr Word<Positions> kPositions[] = {{"learned", Positions::learned},
                                          {"rope", Positions::rope}};
constexpr Word<RopeScaling> kRopeScalings[] = {
    {"none", RopeScaling::none},       {"linear", RopeScaling::linear},
    {"dynamic", RopeScaling::dynamic}, {"llama3", RopeScaling::llama3},
    {"yarn", RopeScaling::yarn},       {"longrope", RopeScaling::longrope},
    {"factors", RopeScaling::factors}};
constexpr Word<HeadKind> kHeadKinds[] = {{"causal_lm", HeadKind::causal_lm},
                                         {"masked_lm", HeadKind::masked_lm},
                                         {"classify", HeadKind::classify},
                                         {"classify_tokens", HeadKind::classify_tokens},
                                         {"base", HeadKind::base}};
constexpr Word<Pooling> kPoolings[] = {{"last_token", Pooling::last_token},
                                       {"first_tanh", Pooling::first_tanh},
                                       {"first_relu", Pooling::first_relu}};
constexpr Word<Problem> kProblems[] = {{"regression", Problem::regression},
                                       {"single_label", Problem::single_label},
                                       {"multi_label", Problem::multi_label}};
constexpr Word<Activation> kActivationWords[] = {{"gelu_tanh", Activation::gelu_tanh},
                                                 {"gelu", Activation::gelu_erf},
                                                 {"silu", Activation::silu},
                                                 {"relu", Activation::relu}};

// each(name, field, allowed, decides) of every field; Config is ModelConfig, const or not.
// `allowed` is Integers, Reals (of a list: of each entry), a table of words, or Anything. A range
// is what holds for every model; what one field asks of another is in validate().
template <class Config, class Each>
void visit_fields(Config& c, const Each& each) {
  using enum Decides;
  const auto where = [](bool on) { return on ? model : nothing; };
  const Integers id{-1, kMaxVocab, "none"};
  constexpr Reals share{0, 1, false, true}, any{-1e9, 1e9}, factor{0, 1e9, true, true};
  each("family", c.family, Anything{}, model);
  each("layers", c.layers, Integers{1, kMaxLayers}, model);
  each("width", c.width, Integers{1, kMaxWidth}, model);
  each("heads", c.heads, Integers{1, kMaxHeads}, model);
  each("kv_heads", c.kv_heads, Integers{1, kMaxHeads}, model);
  each("head_dim", c.head_dim, Integers{1, kMaxHeadDim}, model);
  each("ffn", c.ffn, Integers{1, kMaxFfn}, model);
  each("vocab", c.vocab, Integers{1, kMaxVocab}, model);
  each("context", c.context, Integers{1, kMaxContext}, model);

  each("norm", c.norm, kNormKinds, model);
  each("norm_place", c.norm_place, kNormPlaces, model);
  each("qk_norm", c.qk_norm, kQkNorms, model);
  each("norm_eps", c.norm_eps, Reals{0, 1, true, true}, model);
  each("norm_offset", c.norm_offset, Reals{0, 1}, model);
  each("parallel_residual", c.parallel_residual, Anything{}, model);

  each("positions", c.positions, kPositions, model);
  each("first_position", c.first_position, Integers{0, kMaxContext}, model);
  each("pad_keeps_position", c.pad_keeps_position, Anything{}, model);
  each("rope.scaling", c.rope.scaling, kRopeScalings, model);
  each("rope.theta", c.rope.theta, Reals{0, 1e18, true, true}, model);
  each("rope.dims", c.rope.dims, Integers{0, kMaxHeadDim}, model);
  each("rope.factor", c.rope.factor, factor, model);
  each("rope.original_context", c.rope.original_context, Integers{0, kMaxContext}, model);
  each("rope.low_freq_factor", c.rope.low_freq_factor, Reals{0, 1e9}, model);
  each("rope.high_freq_factor", c.rope.high_freq_factor, Reals{0, 1e9}, model);
  each("rope.beta_fast", c.rope.beta_fast, Reals{0, 1e9}, model);
  each("rope.beta_slow", c.rope.beta_slow, Reals{0, 1e9}, model);
  each("rope.truncate", c.rope.truncate, Anything{}, model);
  each("rope.attention_factor", c.rope.attention_factor, any, model);
  each("rope.short_factors", c.rope.short_factors, factor, model);
  each("rope.long_factors", c.rope.long_factors, factor, model);
  each("rope.rereads", c.rope.rereads, Anything{}, model);
  each("token_types", c.token_types, Integers{0, kMaxTokenTypes}, model);
  each("embedding_norm", c.embedding_norm, Anything{}, model);
  each("embedding_scale", c.embedding_scale, any, model);
  each("token_dropout", c.token_dropout, Anything{}, model);

  each("activation", c.activation, kActivationWords, model);
  each("gated", c.gated, Anything{}, model);
  each("qkv_bias", c.qkv_bias, Anything{}, model);
  each("out_bias", c.out_bias, Anything{}, model);
  each("mlp_bias", c.mlp_bias, Anything{}, model);

  each("attention_scale", c.attention_scale, any, model);
  each("scale_by_inverse_layer", c.scale_by_inverse_layer, Anything{}, model);
  each("attention_softcap", c.attention_softcap, Reals{0, 1e9}, model);
  each("logit_softcap", c.logit_softcap, Reals{0, 1e9}, model);
  each("window", c.window, Integers{0, kMaxContext, "all"}, model);
  each("windowed", c.windowed, Integers{0, 1}, model);
  each("causal", c.causal, Anything{}, model);

  each("head", c.head, kHeadKinds, model);
  each("tied_head", c.tied_head, Anything{}, model);
  each("head_bias", c.head_bias, Anything{}, model);
  each("head_transform", c.head_transform, Anything{}, model);
  each("head_activation", c.head_activation, kActivationWords, where(c.head_transform));
  each("pooling", c.pooling, kPoolings, model);
  each("pooler", c.pooler, Anything{}, model);
  each("label_bias", c.label_bias, Anything{}, where(c.has_label_head()));
  each("n_labels", c.n_labels, Integers{1, kMaxLabels}, where(c.has_label_head()));
  each("problem", c.problem, kProblems, where(c.has_label_head()));
  each("labels", c.labels, Anything{}, text);

  each("dropout_embedding", c.dropout_embedding, share, training);
  each("dropout_attention", c.dropout_attention, share, training);
  each("dropout_residual", c.dropout_residual, share, training);
  each("dropout_head", c.dropout_head, share, training);
  each("init_std", c.init_std, Reals{0, 100}, training);
  each("eos_id", c.eos_id, id, text);
  each("bos_id", c.bos_id, id, text);
  // A classifier that looks for a text's last token skips the pad tokens behind it. Without one
  // (-1) it is not compared: a fresh model's config.json says nothing then, and is read with the
  // family's default.
  const bool skips_pad = c.head == HeadKind::classify && c.pooling == Pooling::last_token;
  each("pad_id", c.pad_id, id, c.pad_keeps_position || (skips_pad && c.pad_id >= 0) ? model : text);
  each("mask_id", c.mask_id, id, c.token_dropout ? model : text);
  each("source", c.source, Anything{}, text);
}

}  // namespace weft
