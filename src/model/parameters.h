// The parameter registry: one list built from the config. It alone drives initialisation, the
// optimizer, sharding, checkpoints, Hugging Face import and export, `info` and `verify`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/grid.h"
#include "comm/shard.h"
#include "core/arena.h"
#include "model/config.h"

namespace weft {

// How tensor parallelism cuts a parameter.
enum class ShardAxis : std::uint8_t {
  none,         // replicated on every tp rank
  vocab,        // rows of the vocabulary
  heads_qkv,    // rows: query heads, then key heads, then value heads (head_dim rows each)
  heads_in,     // columns: query heads (the attention output projection)
  ffn_out,      // rows of the feed-forward width
  ffn_gate_up,  // rows of the gate, then rows of what it gates
  ffn_in,       // columns of the feed-forward width
  width_out,    // rows of the model width: what heads_in and ffn_in become in inference
  heads_q,      // elements: query heads, head_dim each
  heads_kv,     // elements: KV heads, head_dim each
  each_head,    // replicated; a rank's gradient is its own heads', their sum the parameter's
};

enum class Init : std::uint8_t {
  zeros,
  ones,
  normal,
  normal_residual
};  // normal_residual: std / sqrt(2 L), GPT-2 paper

struct Parameter {
  std::string name;  // "layers.3.attn.qkv.weight"
  Dims shape;        // of the whole tensor; linear weights are (out, in)
  ShardAxis axis = ShardAxis::none;
  Init init = Init::normal;
  bool decay = true;       // weight decay: matrices only
  std::int64_t layer = 0;  // 0 … L-1: of that block; kEmbedding, kHead: outside the blocks
  std::string tied_to;     // shares that parameter's values; has none of its own in files
};
constexpr std::int64_t kEmbedding = -1;  // first stage
constexpr std::int64_t kHead = 1 << 30;  // last stage

std::vector<Parameter> parameters_of(const ModelConfig& config);

// The tp rank's slice. Ranks' slices overlap only for replicated KV heads.
Slice slice_of(const Parameter& parameter, const ModelConfig& config, int tp, int tp_rank);
// The part of slice_of that this tp rank answers for: every element of the parameter is owned by
// exactly one rank. Ranges are in global indices; empty ranges: this rank owns nothing of it.
std::vector<Range> owned_ranges(const Parameter& parameter, const ModelConfig& config, int tp,
                                int tp_rank);

// Of the tp rank's KV heads, how many of the first a lower rank answers for, which holds them too.
std::int64_t repeated_kv_heads(const ModelConfig& config, int tp, int tp_rank);

// Layers of each chunk of a pipeline stage: of its virtual stages (model/schedule.h). The head is
// work too, for a small model with a large vocabulary that of several layers: the last virtual
// stage has as many fewer layers as makes the slowest one fastest. Each has one at least: pp ·
// chunks <= layers.
std::vector<Range> stage_layers(const ModelConfig& config, int pp, int stage, int chunks = 1);
// Whether a stage holds the parameter. A tied head lives on the last stage too when that is not the
// first.
bool on_stage(const Parameter& parameter, const ModelConfig& config, int pp, int stage,
              int chunks = 1);

// Rows of memory that a rank's V_tp rows of the vocabulary lie in: on a GPU a multiple of 128,
// which its matrix products need for their full speed. Those behind V_tp are padding: zero, from
// the first step to the last, and seen by those products alone (padded, in parameter_views.h).
std::int64_t padded_vocab(std::int64_t V_tp, Device device);

// A parameter as this rank holds it.
struct LocalParameter {
  Parameter info;
  Slice slice;
  Dims held;                        // the slice's dims in memory: with a vocabulary's padding
  View weight;                      // fp32 for training; the storage dtype for inference
  View weight_bf16;                 // bf16 copy for --dtype bf16 training, else empty
  View grad, m, v;                  // fp32; empty for inference
  std::int64_t flat_begin = 0;      // element offset of weight, grad, m and v in their arenas
  std::int64_t flat_elems = 0;      // of `held`, with padding to 64 bytes
  mutable bool grad_begun = false;  // what grad holds is of this step
};

enum class ParameterUse : std::uint8_t { inference, training };

struct ParametersPlan {
  std::size_t bytes = 0;                  // of all arenas
  std::int64_t elems = 0, n_tensors = 0;  // held
};

// This rank's parameters, in the order in which backward finishes their gradients, so that a run of
// them is one contiguous range of the gradient arena.
class Parameters {
 public:
  // dtype: how weights are held. training: fp32 masters always; bf16 adds a bf16 copy that the
  // matmuls read. Inference cuts the layers that end a residual branch by rows instead of columns:
  // their inputs are then gathered instead of their outputs summed, which moves about as many bytes
  // and gives every grid the bits of one rank. chunks: of the stage (stage_layers).
  Parameters(const ModelConfig& config, const Grid& grid, DType dtype, ParameterUse purpose,
             int chunks = 1, Device device = {});

  const ModelConfig& config() const { return config_; }  // lives as long as this
  const std::vector<LocalParameter>& list() const { return list_; }
  std::vector<LocalParameter>& list() { return list_; }
  const LocalParameter* find(const std::string& name) const;  // null when not on this rank
  const LocalParameter& at(const std::string& name) const;    // throws
  // Whether another parameter shares its values: the tied head, and the embedding it is tied to.
  bool is_tied(const LocalParameter& p) const {
    return !p.info.tied_to.empty() ||
           (config_.tied_head && config_.has_lm_head() && p.info.name == "embed.tokens.weight");
  }
  int chunks() const { return chunks_; }
  View grads_flat() const { return grads_; }  // (elements) fp32
  std::size_t bytes() const { return plan().bytes; }
  ParametersPlan plan() const;  // as it was carried out
  // What the same choice takes with one chunk on one rank of a grid, without allocating.
  static ParametersPlan plan(const ModelConfig& config, GridShape shape, int tp_rank, int pp_rank,
                             DType dtype, ParameterUse purpose, Device device = {});
  static std::size_t plan_bytes(const ModelConfig& config, GridShape shape, int tp_rank,
                                int pp_rank, DType dtype, ParameterUse purpose, Device device = {});

  // Elements of its gradients in the flat order, with what pads them: what data-parallel ranks sum;
  // of them, those of the embedding's tables, the last.
  struct GradElems {
    std::int64_t all = 0, tables = 0;
  };
  static GradElems plan_grad_elems(const ModelConfig& config, GridShape shape, int tp_rank,
                                   int pp_rank, int chunks = 1, Device device = {});

  void init_weights(std::uint64_t seed, Stream& stream);  // the same values on any grid
  // A step's gradients. begin_grads(): none has been begun, whatever memory holds. What is handed
  // out first in a step (begin_grad, parameter_views.h) is set, later added to. finish_grads():
  // those of [begin, end) of the flat order that nothing has begun are 0.
  void begin_grads();
  void finish_grads(std::int64_t begin, std::int64_t end, Stream& stream);
  void zero_moments(Stream& stream);
  void refresh_bf16(Stream& stream);  // copies from the masters, where there are copies
  // On a CPU puts the matrices of linear layers in panels (kernels/panels.h), once their values are
  // there: for inference, which reads them by nothing else. A token embedding that is the head's
  // matrix, too, goes with them unless its rows are asked for.
  enum class TableUse : std::uint8_t { head, rows };
  void to_panels(Stream& stream, TableUse table = TableUse::head);

 private:
  ModelConfig config_;
  int chunks_;
  std::vector<LocalParameter> list_;
  Arena weights_, copies_, grads_arena_, m_, v_;
  View grads_;
};

DType matrix_dtype(const Parameters& parameters);  // as matrices are held

// Number of elements of the whole model (a tied head counted once).
std::int64_t count_parameters(const ModelConfig& config);

}  // namespace weft
