// A model in inference: rows of several texts at once through all stages. Texts that go on append
// their keys and values to a cache; whole texts need none.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "core/graph.h"
#include "model/block.h"
#include "model/embed.h"
#include "model/head.h"
#include "model/label_head.h"

namespace weft {

// Tokens of a page of the cache: what the kernels take keys in, and the least that a text wastes.
constexpr std::int64_t kPageTokens = 64;
constexpr std::int64_t pages_of(std::int64_t n_tokens) {
  return (n_tokens + kPageTokens - 1) / kPageTokens;
}

struct InferenceShape {
  std::int64_t slots = 1;           // sequences that may be in the cache at once
  std::int64_t S = 0;               // cached tokens of each at most
  std::int64_t max_rows = 0;        // rows of one forward pass
  std::int64_t max_logit_rows = 0;  // of them, rows whose logits are asked for
  DType act = DType::f32;           // of activations; a pass's are its context's
  bool whole_texts = false;         // every pass brings whole texts: nothing is cached
  std::int64_t pages = 0;  // of the cache, which all sequences share; 0: each slot has room for S
  DType weights = DType::f32;    // as matrices are held
  Device device = {};            // a pass's is its context's
  std::optional<DType> kv = {};  // of cached keys and values; empty: act
  DType held() const { return kv.value_or(act); }
};

// The rows of one pass: N of them, slice by slice.
struct DecoderRows {
  std::span<const std::int32_t> ids;    // (N)
  std::span<const std::int32_t> types;  // (N); empty: all 0
  std::span<const CacheSlice> slices;   // with whole_texts one a text, n_cached 0
  std::span<const std::int64_t>
      text_lengths;  // of each slice's text so far, past this pass too (a prompt that is read in
                     // pieces); empty: cached + new
  // (n, pages_of(S)), n <= shape.slots, where the cache has pages: those of slice.slot's text in
  // order, as far as it reaches.
  std::span<const std::int32_t> pages = {};
  // Rows whose results are asked for, ascending; empty: all. The last layer reads and caches the
  // others, and does no more for them.
  std::span<const std::int64_t> wanted = {};
};

// A view that a call returns dies at the next call of the same function, and at the next hidden()
// or hidden_at(): all lie in one arena. What is said to want hidden() takes its view while it
// lives. The context, config and parameters must outlive the pass.
class InferencePass {
 public:
  InferencePass(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                InferenceShape shape);
  static std::size_t plan_bytes(const ModelConfig& config, const Grid& grid, InferenceShape shape);
  // What a pass holds of its device beside that: scratch, what ops keep, graphs.
  static std::size_t kept_bytes(const Context& ctx, const ModelConfig& config,
                                const InferenceShape& shape);
  // Of a rank's keys and values of kPageTokens tokens, in all of its layers, held in a dtype.
  static std::size_t page_bytes(const ModelConfig& config, DType kv, const Grid& grid);
  static std::size_t page_bytes(const ModelConfig& config, DType kv, GridShape shape, int tp_rank,
                                int pp_rank);
  std::size_t bytes() const { return cache_arena_.capacity_bytes() + arena_.capacity_bytes(); }
  const InferenceShape& shape() const { return shape_; }
  // Passes of a row a text are captured, on one GPU alone, and launched again as graphs.
  const GraphCounts& graphs() const { return pass_graphs_.counts(); }

  // Runs the rows, appends their keys and values to the cache.
  // Collective over a replica (tp × pp). The result is (N, C), the final norm's output, on the last
  // stage; empty elsewhere. It may have the wanted rows alone: logits() knows which.
  ConstView hidden(const DecoderRows& rows);
  // The stream as it enters layer `layer` (0: the embeddings; post-norm: the embeddings' norm), as
  // transformers' hidden_states[layer]; layer L is hidden(). Collective over a replica; (N, C) on
  // the last stage, which every rank but the layer's sends it to.
  ConstView hidden_at(const DecoderRows& rows, std::int64_t layer);

  // Copies the first n tokens of a page to another, on this rank: of a sequence that goes on in two
  // ways (beam search).
  void copy_page(std::int64_t from, std::int64_t to, std::int64_t n_tokens);

  // Last stage only, after hidden(). Logits (rows, V) of chosen rows of the pass, whole on every tp
  // rank.
  // Collective over tp, as losses() is.
  ConstView logits(ConstView hidden, std::span<const std::int64_t> rows);
  // Last stage only: -log p(label) of each row, or of the chosen rows, (labels) fp32; kIgnoreLabel
  // gives 0.
  ConstView losses(ConstView hidden, std::span<const std::int32_t> labels,
                   std::span<const std::int64_t> rows = {});
  // Last stage only: (M, n_labels) of a label head, or (M, C) of a pooler, for the rows that
  // labelled_rows gives; at most max_logit_rows.
  ConstView labels(ConstView hidden, std::span<const std::int64_t> rows);

 private:
  struct Buffers;
  // What the host tells of a pass, and then of its results.
  struct HostSide {
    Staging pass, results;
  };
  static Buffers lay_out(Arena& arena, HostSide& host, const ModelConfig& config, const Grid& grid,
                         const InferenceShape& shape, std::int64_t n_rows);
  static std::size_t activation_bytes(const ModelConfig& config, const Grid& grid,
                                      const InferenceShape& shape);
  // Of the stream's scratch, all that a pass needs.
  static std::size_t scratch_bytes(const Context& ctx, const ModelConfig& config,
                                   const InferenceShape& shape);
  // What the host knows of a pass and does not stage.
  struct PassPlan {
    std::vector<TextRows> texts;
    std::vector<float> scales;            // of place_tokens
    std::array<CachedPlan, 2> attention;  // of layers without a window, and with one
  };
  Buffers lay_out_again();  // the same for the same n_laid_out_
  void check(const DecoderRows& rows) const;
  bool decodes(const DecoderRows& rows) const;
  static bool can_decode(const Context& ctx, const ModelConfig& config,
                         const InferenceShape& shape);
  BlockShape shape_of_block() const;
  void stage_pages(const DecoderRows& rows, const Staged& table) const;
  PassPlan stage_rows(const DecoderRows& rows, const Buffers& b);
  std::vector<std::int64_t> places(std::span<const std::int64_t> rows) const;
  std::vector<std::int64_t> kept_of(const DecoderRows& rows, const Buffers& b,
                                    std::int64_t stop) const;
  ConstView run(const DecoderRows& rows, std::int64_t stop);
  ConstView forward(const PassPlan& plan, const Buffers& b, std::int64_t stop);
  void give(GraphCache& graphs, const GraphCache::Key& key, const std::function<void()>& work);

  const Context& ctx_;
  const ModelConfig& config_;
  InferenceShape shape_;
  Range layers_;
  std::vector<BlockParameters> blocks_;
  EmbeddingParameters embedding_;
  NormParameters final_norm_;
  LmHeadParameters head_;
  LabelHeadParameters label_head_;
  Arena cache_arena_, arena_;
  HostSide host_;
  std::vector<std::pair<View, View>> cache_;  // keys and values of each layer: (pages, kPageTokens,
                                              // Hkv_tp, kv_row_elems), or slots for pages
  // Of the last pass: the rows it was laid out for, and whether it was a row a text of some.
  std::int64_t n_laid_out_ = 0;
  bool decoded_ = false;
  std::vector<std::int64_t> kept_;  // rows that its result has; empty: all
  GraphCache pass_graphs_, logits_graphs_;
};

}  // namespace weft
