// The heads that label: a text (classify) or each token (classify_tokens), and a base model's
// pooler. Small next to everything else and the same on every tensor-parallel rank.
#pragma once

#include <span>

#include "core/arena.h"
#include "model/context.h"
#include "model/parameters.h"

namespace weft {

struct LabelHeadParameters {
  const LocalParameter *dense_w = nullptr,
                       *dense_b = nullptr;  // null: the state goes straight to the labels
  const LocalParameter *labels_w = nullptr,
                       *labels_b = nullptr;  // null: a pooler, whose result is the dense layer's
};
LabelHeadParameters find_label_head(const Parameters& parameters, const ModelConfig& config);

struct LabelScratch {
  View picked;              // (M, C) the states that are labelled, after dropout
  View dense, pooled;       // (M, C)
  View logits;              // (M, n_labels)
  View lse, stats;          // (M), (M, 3)
  View d_pooled, d_picked;  // (M, C)
};
// M: texts of a batch, or its tokens.
LabelScratch allocate_label_scratch(Arena& arena, const ModelConfig& config, std::int64_t M,
                                    DType act);

// How many of a text's tokens lie up to the one whose state is labelled, itself included. As
// transformers 5: the last that is not the pad token, wherever padding stands; the first where all
// are; the very last where the model has no pad token (pad_id -1).
std::int64_t classified_end(std::int32_t pad_id, std::span<const std::int32_t> ids);

// Which rows of y (N, C) are labelled: each text's first or last, or all. `ends`: of each text, or,
// where the last token is labelled, behind that token (classified_end). Texts without tokens give
// -1 and get zeros.
std::vector<std::int64_t> labelled_rows(const ModelConfig& config,
                                        std::span<const std::int64_t> begins,
                                        std::span<const std::int64_t> ends);

// What label_logits and label_loss are both told.
struct LabelCall {
  const Context& ctx;
  const ModelConfig& config;
  const LabelHeadParameters& head;
  const LabelScratch& scratch;
  ConstView rows;        // (M) i32, of y (labelled_rows)
  Dropout dropout = {};  // p > 0 in training
};

// scratch.logits (M, n_labels) of the rows of y (N, C); for a pooler scratch.pooled.
void label_logits(const LabelCall& call, ConstView y);

// After label_logits: the loss of each of the M, as transformers': cross-entropy (labels), mean
// binary cross-entropy or mean squared error over n_labels (targets). With dy (N, C) also the
// gradient of scale · Σ loss: dy is written, the head's gradients accumulate.
void label_loss(const LabelCall& call, View loss,  // (M)
                View dy,                           // (N, C), or empty
                ConstView labels,                  // (M) i32; kIgnoreLabel: none
                ConstView targets,  // (M, n_labels) fp32, instead, but for single labels
                float scale);

}  // namespace weft
