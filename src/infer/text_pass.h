// Whole texts through a model, as many at a time as a pass holds: what scoring, classifying,
// filling masks and embedding share.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/check.h"
#include "model/inference/pass.h"

namespace weft {

struct TokenizedText {
  std::vector<std::int32_t> ids, types;  // types: empty, or one an id
  std::string name = "";                 // what errors call it: "text 3"
};

// Texts that are made when their pass comes: all at once might not fit.
struct TextSource {
  std::size_t n = 0;
  std::function<std::int64_t(std::size_t)> length;  // tokens of text i
  std::function<TokenizedText(std::size_t)> text;
};

// The texts [first, first + n) of a run, one behind another as the rows of a pass.
struct TextPass {
  std::size_t first = 0, n = 0;
  std::vector<std::int32_t> ids, types;
  std::vector<CacheSlice> slices;               // of the texts that have tokens
  std::vector<std::int64_t> begins, ends;       // rows of each text; equal: it has no tokens
  std::vector<std::string> names;               // of each text
  std::size_t text_at(std::int64_t row) const;  // from 0
  DecoderRows rows() const {
    return {.ids = ids, .types = types, .slices = slices, .text_lengths = {}};
  }
};

// What a task does with a pass.
struct PassTask {
  std::int64_t max_logit_rows =
      1;  // rows of a pass that logits or labels are asked for, at most; 0: as many as rows
  std::int64_t layer = -1;  // hidden states of this layer (InferencePass::hidden_at); -1: the last
  // Numbers that a pass gives, the same on every rank.
  std::function<std::size_t(const TextPass&)> n_values;
  // Which text of the pass (from 0) a number belongs to, for errors.
  std::function<std::size_t(const TextPass&, std::size_t value)> text_of;
  // On the last stage's ranks: the numbers, from the rows' hidden states (N, C), which are lost
  // when the pass is asked for more.
  std::function<void(InferencePass&, ConstView hidden, const TextPass&, std::span<float>)> compute;
  // On every rank of the replica, in the order of the texts.
  std::function<void(const TextPass&, std::span<const float>)> done;
};

// Results that are not finite, met by all ranks of a replica at the same place: none of them waits
// for another, so that the other replicas may be told when theirs are done.
class NotFinite : public Error {
 public:
  using Error::Error;
};
// `body` runs this replica's texts. What it throws of NotFinite and Interrupted; whatever else
// passes, since other ranks may be waiting for this one.
std::optional<Failure> caught_together(const std::function<void()>& body);

// Collective over a replica. Passes hold `max_rows` rows, more only where a text alone is longer.
// An Error where a text is longer than its model's context and positions are learned, NotFinite
// with the text's name where a number of its results is not, Interrupted where ctx.limit ends it.
void run_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
               const TextSource& texts, const PassTask& task, std::int64_t max_rows = 1024);
void run_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
               std::span<const TokenizedText> texts, const PassTask& task);

}  // namespace weft
