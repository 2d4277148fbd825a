// The trees of the families that read in both directions.
#include <algorithm>

#include "inspect/module_tree_families.h"

namespace weft {
namespace {

TorchModule square(const ModelConfig& c) { return linear(c.width, c.width, true); }
TorchModule norm(const TreeConfig& m) {
  return layer_norm(m.c.width, m.number("layer_norm_eps", m.c.norm_eps));
}
TorchModule hidden_dropout(const TreeConfig& m) {
  return dropout(m.number("hidden_dropout_prob", m.c.dropout_residual));
}

TorchModule pooler(const TreeConfig& m) {
  return {m.type("Pooler"), {{"dense", square(m.c)}, {"activation", {"Tanh", {}}}}};
}

// BERT, RoBERTa and XLM-RoBERTa, whose embeddings stand in another order.
TorchModule bert_layer(const TreeConfig& m) {
  const ModelConfig& c = m.c;
  return {
      m.type("Layer"),
      {{"attention",
        {m.type("Attention"),
         {{"self",
           {m.type("SelfAttention"),
            {{"query", square(c)},
             {"key", square(c)},
             {"value", square(c)},
             {"dropout", dropout(m.number("attention_probs_dropout_prob", c.dropout_attention))}}}},
          {"output",
           {m.type("SelfOutput"),
            {{"dense", square(c)}, {"LayerNorm", norm(m)}, {"dropout", hidden_dropout(m)}}}}}}},
       {"intermediate",
        {m.type("Intermediate"),
         {{"dense", linear(c.width, c.ffn, true)},
          {"intermediate_act_fn", m.activation("hidden_act", "gelu")}}}},
       {"output",
        {m.type("Output"),
         {{"dense", linear(c.ffn, c.width, true)},
          {"LayerNorm", norm(m)},
          {"dropout", hidden_dropout(m)}}}}}};
}

TorchModule bert_model(const TreeConfig& m, const std::vector<TorchPart>& embeddings) {
  TorchModule model = {
      m.type("Model"),
      {{"embeddings", {m.type("Embeddings"), embeddings}},
       {"encoder", {m.type("Encoder"), {{"layer", module_list(m.c.layers, bert_layer(m))}}}}}};
  if (m.c.pooler || (m.c.family == "bert" && m.c.head == HeadKind::classify))
    model.parts.push_back({"pooler", pooler(m)});
  return model;
}

TorchModule bert_base(const TreeConfig& m) {
  const ModelConfig& c = m.c;
  return bert_model(m, {{"word_embeddings", m.padded_embedding(c.vocab, c.pad_id)},
                        {"position_embeddings", embedding(c.context, c.width)},
                        {"token_type_embeddings", embedding(c.token_types, c.width)},
                        {"LayerNorm", norm(m)},
                        {"dropout", hidden_dropout(m)}});
}

std::vector<TorchPart> dropout_and_classifier(const TreeConfig& m, const TorchPart& base,
                                              const std::string& p) {
  return {base, {"dropout", dropout(p)}, {"classifier", linear(m.c.width, m.c.n_labels, true)}};
}

std::string classifier_dropout(const TreeConfig& m) {
  return m.number("classifier_dropout", m.number("hidden_dropout_prob", m.c.dropout_residual));
}

std::vector<TorchPart> bert_heads(const TreeConfig& m, TorchPart base) {
  const ModelConfig& c = m.c;
  if (c.has_label_head()) return dropout_and_classifier(m, base, classifier_dropout(m));
  const TorchModule transform = {"BertPredictionHeadTransform",
                                 {{"dense", square(c)},
                                  {"transform_act_fn", m.activation("hidden_act", "gelu")},
                                  {"LayerNorm", norm(m)}}};
  const TorchModule predictions = {
      "BertLMPredictionHead",
      {{"transform", transform}, {"decoder", linear(c.width, c.vocab, true)}}};
  return {base, {"cls", {"BertOnlyMLMHead", {{"predictions", predictions}}}}};
}

TorchModule distilbert_base(const TreeConfig& m) {
  const ModelConfig& c = m.c;
  const TorchModule norm = layer_norm(c.width, "1e-12"),
                    hidden = dropout(m.number("dropout", c.dropout_residual));
  const TorchModule layer = {
      "TransformerBlock",
      {{"attention",
        {"DistilBertSelfAttention",
         {{"q_lin", square(c)},
          {"k_lin", square(c)},
          {"v_lin", square(c)},
          {"out_lin", square(c)},
          {"dropout", dropout(m.number("attention_dropout", c.dropout_attention))}}}},
       {"sa_layer_norm", norm},
       {"ffn",
        {"FFN",
         {{"dropout", hidden},
          {"lin1", linear(c.width, c.ffn, true)},
          {"lin2", linear(c.ffn, c.width, true)},
          {"activation", m.activation("activation", "gelu")}}}},
       {"output_layer_norm", norm}}};
  return {"DistilBertModel",
          {{"embeddings",
            {"Embeddings",
             {{"word_embeddings", m.padded_embedding(c.vocab, c.pad_id)},
              {"position_embeddings", embedding(c.context, c.width)},
              {"LayerNorm", norm},
              {"dropout", hidden}}}},
           {"transformer", {"Transformer", {{"layer", module_list(c.layers, layer)}}}}}};
}

std::vector<TorchPart> distilbert_heads(const TreeConfig& m, TorchPart base) {
  const ModelConfig& c = m.c;
  if (c.head == HeadKind::classify_tokens)
    return dropout_and_classifier(m, base, m.number("dropout", c.dropout_residual));
  if (c.head == HeadKind::classify)
    return {base,
            {"pre_classifier", square(c)},
            {"classifier", linear(c.width, c.n_labels, true)},
            {"dropout", dropout(m.number("seq_classif_dropout", c.dropout_head))}};
  return {{"activation", m.activation("activation", "gelu")},
          base,
          {"vocab_transform", square(c)},
          {"vocab_layer_norm", layer_norm(c.width, "1e-12")},
          {"vocab_projector", linear(c.width, c.vocab, true)},
          {"mlm_loss_fct", {"CrossEntropyLoss", {}}}};
}

TorchModule roberta_base(const TreeConfig& m) {
  const ModelConfig& c = m.c;
  return bert_model(
      m, {{"word_embeddings", m.padded_embedding(c.vocab, c.pad_id)},
          {"token_type_embeddings", embedding(c.token_types, c.width)},
          {"LayerNorm", norm(m)},
          {"dropout", hidden_dropout(m)},
          {"position_embeddings", m.padded_embedding(c.context + c.first_position, c.pad_id)}});
}

// RoBERTa's and ESM's, which differ in the decoder's bias and in where the dropout comes from.
std::vector<TorchPart> lm_head_or_classifier(const TreeConfig& m, const TorchPart& base,
                                             bool decoder_bias, const std::string& label_dropout) {
  const ModelConfig& c = m.c;
  if (c.head == HeadKind::classify_tokens) return dropout_and_classifier(m, base, label_dropout);
  if (c.head == HeadKind::classify)
    return {base,
            {"classifier",
             {m.type("ClassificationHead"),
              {{"dense", square(c)},
               {"dropout", dropout(label_dropout)},
               {"out_proj", linear(c.width, c.n_labels, true)}}}}};
  return {base,
          {"lm_head",
           {m.type("LMHead"),
            {{"dense", square(c)},
             {"layer_norm", norm(m)},
             {"decoder", linear(c.width, c.vocab, decoder_bias)}}}}};
}

std::vector<TorchPart> roberta_heads(const TreeConfig& m, TorchPart base) {
  return lm_head_or_classifier(m, base, true, classifier_dropout(m));
}

// The same parts, but made before the base model.
std::vector<TorchPart> xlm_roberta_heads(const TreeConfig& m, TorchPart base) {
  std::vector<TorchPart> parts = roberta_heads(m, std::move(base));
  std::rotate(parts.begin(), parts.begin() + 1, parts.end());
  return parts;
}

TorchModule esm_base(const TreeConfig& m) {
  const ModelConfig& c = m.c;
  constexpr std::int64_t kNoPad = -1;  // where the file names none, the class pads nothing
  TorchModule embeddings = {"EsmEmbeddings",
                            {{"word_embeddings", m.padded_embedding(c.vocab, kNoPad)}}};
  if (c.embedding_norm) embeddings.parts.push_back({"layer_norm", norm(m)});
  embeddings.parts.push_back({"dropout", hidden_dropout(m)});
  if (c.positions == Positions::learned)
    embeddings.parts.push_back(
        {"position_embeddings", m.padded_embedding(c.context + c.first_position, kNoPad)});

  const TorchModule layer = {
      "EsmLayer",
      {{"attention",
        {"EsmAttention",
         {{"self",
           {"EsmSelfAttention", {{"query", square(c)}, {"key", square(c)}, {"value", square(c)}}}},
          {"output", {"EsmSelfOutput", {{"dense", square(c)}, {"dropout", hidden_dropout(m)}}}},
          {"LayerNorm", norm(m)}}}},
       {"intermediate", {"EsmIntermediate", {{"dense", linear(c.width, c.ffn, true)}}}},
       {"output",
        {"EsmOutput", {{"dense", linear(c.ffn, c.width, true)}, {"dropout", hidden_dropout(m)}}}},
       {"LayerNorm", norm(m)}}};

  TorchModule model = {"EsmModel", {{"embeddings", embeddings}}};
  if (c.positions == Positions::rope)
    model.parts.push_back({"rotary_embeddings", {"EsmRotaryEmbedding", {}}});
  model.parts.push_back(
      {"encoder",
       {"EsmEncoder",
        {{"layer", module_list(c.layers, layer)}, {"emb_layer_norm_after", norm(m)}}}});
  if (c.pooler) model.parts.push_back({"pooler", pooler(m)});
  const TorchModule contacts = {
      "EsmContactPredictionHead",
      {{"regression", linear(c.layers * c.heads, 1, true)}, {"activation", {"Sigmoid", {}}}}};
  model.parts.push_back({"contact_head", contacts});
  return model;
}

std::vector<TorchPart> esm_heads(const TreeConfig& m, TorchPart base) {
  return lm_head_or_classifier(m, base, false,
                               m.number("hidden_dropout_prob", m.c.dropout_residual));
}

}  // namespace

std::vector<FamilyTree> encoder_trees() {
  return {{"bert", bert_base, bert_heads},
          {"distilbert", distilbert_base, distilbert_heads},
          {"roberta", roberta_base, roberta_heads},
          {"xlm-roberta", roberta_base, xlm_roberta_heads},
          {"esm", esm_base, esm_heads}};
}

}  // namespace weft
