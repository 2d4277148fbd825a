// One text through a model, and what its attention did. Of each chosen head queries and keys are
// kept as attention reads them (normed, turned), on the rank that has the head; the probabilities,
// which the fused kernels never write down, are computed from them one map at a time. Also hidden
// states and logits.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "inspect/attention_statistics.h"
#include "model/inference/pass.h"

namespace weft {

// What is looked at: layers and heads of the model, each rising, at least one.
struct CaptureChoice {
  std::vector<std::int64_t> layers, heads;
  bool whole_layers = false;    // collect() brings layers together for its sink
  bool hidden = false;          // hidden states of all layers
  std::int64_t logit_rows = 0;  // rows of logits that are asked for at a time; 0: none ever
};

// A chosen layer of a text, with its S chosen heads. The views die with the call they come in.
struct LayerCapture {
  std::int64_t layer = 0;               // of the model
  ConstView maps;                       // (S, T, T) fp32: heads, queries, keys
  ConstView q;                          // (T, S, D) fp32, turned, before the scale
  ConstView k;                          // (T, n_kv, D) fp32: the key heads that those S read
  std::span<const std::int64_t> kv_of;  // (S): which of the n_kv
  float scale = 1, softcap = 0;         // of q·k; softcap 0: none
  std::int64_t window = 0;              // keys that a query sees, its own included; 0: all
};
using LayerSink = std::function<void(const LayerCapture&)>;

class AttentionCapture {
 public:
  // For texts of up to max_tokens. What it is given must outlive it; run() sets ctx's observer.
  AttentionCapture(Context& ctx, const ModelConfig& config, const Parameters& parameters,
                   CaptureChoice choice, std::int64_t max_tokens);
  AttentionCapture(const AttentionCapture&) = delete;
  AttentionCapture& operator=(const AttentionCapture&) = delete;
  ~AttentionCapture();
  // What this rank will hold.
  static std::size_t plan_bytes(const Context& ctx, const ModelConfig& config,
                                const CaptureChoice& choice, std::int64_t max_tokens);

  // Runs a text of T tokens (types: empty, or one a token); what was kept of the one before goes.
  // Collective over a replica.
  void run(std::span<const std::int32_t> ids, std::span<const std::int32_t> types);
  std::int64_t n_tokens() const;
  const CaptureChoice& choice() const;

  // The statistics of all chosen heads (layers, heads), on every rank. With whole_layers the
  // replica's first rank hands its sink layer after layer; what the sink throws no other rank
  // hears of. Collective over a replica.
  std::vector<HeadStatistics> collect(const LayerSink& sink = nullptr);
  // The maps (T, T) of this rank's own heads; layer and head count among the chosen ones. Local.
  using MapVisitor = std::function<void(std::size_t layer, std::size_t head, ConstView map)>;
  void each_own_map(const MapVisitor& visit);
  // This rank's rows (n, C), from row `first` on, of the hidden states that its stage makes. As
  // transformers' hidden_states: layer 0 the embeddings, L the final norm's output. Local.
  using HiddenVisitor = std::function<void(std::int64_t layer, std::int64_t first, ConstView rows)>;
  void each_own_hidden(const HiddenVisitor& visit) const;
  // (rows, V), whole on every rank of the last stage, over which it is collective; at most
  // logit_rows of them. They die at the next call.
  ConstView logits(Range rows);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft
