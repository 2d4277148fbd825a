#include "model/sizes.h"

#include <algorithm>
#include <utility>

#include "kernels/work.h"
#include "model/tensor_parallel.h"

namespace weft {
namespace {

// Elements of the head's matrices, by which rows are multiplied.
double head_matrix_elems(const ModelConfig& c) {
  double elems = 0;
  for (const Parameter& p : parameters_of(c))
    if (p.layer == kHead && p.shape.rank() == 2) elems += static_cast<double>(p.shape.elems());
  return elems;
}

// Attention's FLOPs of one block where a pair takes so many a dim.
double attention_flops(const ModelConfig& c, std::int64_t layer, const SequenceRows& r,
                       double flops_of_pair) {
  const std::int64_t left = c.has_window(layer) ? c.window - 1 : -1, right = c.causal ? 0 : left;
  const std::int64_t all = r.cached + r.rows;
  double pairs = 0;
  if (c.causal || r.tokens == 0)
    pairs = static_cast<double>(r.n) * attention_pairs(r.cached, r.rows, all, left, right);
  else if (left < 0)  // every row sees every token of its own sequence
    pairs = static_cast<double>(r.rows) * static_cast<double>(r.tokens);
  else
    pairs =
        static_cast<double>(r.n) *
        attention_pairs(r.cached, r.rows, r.tokens / std::max<std::int64_t>(r.n, 1), left, right);
  return flops_of_pair * static_cast<double>(c.heads * c.head_dim) * pairs;
}

struct BlockFlops {
  double linear, attention, attention_backward;  // linear: forward; backward is twice that
  double last;                                   // of linear: the layer that recomputation spares
};

BlockFlops flops_of_block(const ModelConfig& c, std::int64_t layer, const SequenceRows& r) {
  const double rows = static_cast<double>(r.n * r.rows);
  const bool spares = !c.has_output_norms();  // whose last norm needs its input
  return {2 * rows * static_cast<double>(block_matrix_elems(c)),
          attention_flops(c, layer, r, kForwardFlopsOfPair),
          attention_flops(c, layer, r, kBackwardFlopsOfPair),
          spares ? 2 * rows * static_cast<double>(c.width * c.ffn) : 0};
}

double forward_of(const BlockFlops& f) { return f.linear + f.attention; }
double recompute_of(const BlockFlops& f, Recompute recompute) {
  return recompute == Recompute::block ? forward_of(f) - f.last : 0;
}

std::int64_t trained_head_rows(const ModelConfig& c, const SequenceRows& r) {
  return c.head == HeadKind::classify ? r.n : r.n * r.rows;
}

}  // namespace

double customary_flops_per_token(const ModelConfig& c, std::int64_t T) {
  return 6.0 * static_cast<double>(count_parameters(c)) +
         12.0 * static_cast<double>(c.layers * c.heads * c.head_dim * T);
}

std::int64_t block_matrix_elems(const ModelConfig& c) {
  return (c.qkv_rows() + c.heads * c.head_dim + c.up_rows() + c.ffn) * c.width;
}

double block_flops(const ModelConfig& c, std::int64_t layer, const SequenceRows& r) {
  return forward_of(flops_of_block(c, layer, r));
}

double head_flops(const ModelConfig& c, std::int64_t n_rows) {
  return 2.0 * static_cast<double>(n_rows) * head_matrix_elems(c);
}

double forward_flops(const ModelConfig& c, const SequenceRows& r, std::int64_t head_rows,
                     std::int64_t wanted) {
  double flops = head_flops(c, head_rows);
  for (std::int64_t l = 0; l < c.layers; ++l) flops += block_flops(c, l, r);
  if (wanted < 0) return flops;
  const std::int64_t behind = block_matrix_elems(c) - c.qkv_rows() * c.width;
  return flops - 2.0 * static_cast<double>(r.n * r.rows - wanted) * static_cast<double>(behind);
}

double training_flops(const ModelConfig& c, const SequenceRows& r, Recompute recompute) {
  double flops = 3 * head_flops(c, trained_head_rows(c, r));
  for (std::int64_t l = 0; l < c.layers; ++l) {
    const BlockFlops f = flops_of_block(c, l, r);
    flops += forward_of(f) + 2 * f.linear + f.attention_backward + recompute_of(f, recompute);
  }
  return flops;
}

std::vector<StageCost> stage_costs(const ModelConfig& c, int pp, std::int64_t T,
                                   Recompute recompute, int chunks) {
  const SequenceRows one = {.n = 1, .rows = T, .cached = 0, .tokens = 0};
  const int n = pp * chunks;
  std::vector<StageCost> costs;
  for (int v = 0; v < n; ++v) {
    StageCost cost = {0, 0, 0, 0};
    const Range layers = stage_layers(c, pp, v % pp, chunks)[static_cast<std::size_t>(v / pp)];
    for (std::int64_t l = layers.begin; l < layers.end; ++l) {
      const BlockFlops f = flops_of_block(c, l, one);
      cost.forward += forward_of(f);
      cost.backward_input += f.linear + f.attention_backward;
      cost.backward_weight += f.linear;
      cost.recompute += recompute_of(f, recompute);
    }
    if (v == n - 1) cost.forward += 3 * head_flops(c, trained_head_rows(c, one));
    costs.push_back(cost);
  }
  return costs;
}

namespace {

constexpr std::int64_t kScalarBytes = 8;  // a count, a loss, a squared norm

struct Traffic {
  const ModelConfig& config;
  const StepCut& cut;
  std::vector<StepTraffic> list = {};

  void add(GridGroup group, CallKind call, const char* what, std::int64_t bytes,
           bool waits = true) {
    if (bytes > 0) list.push_back({group, call, what, bytes, waits});
  }
  std::int64_t rows() const { return cut.B * cut.T; }
  // Of a micro-batch's activations.
  std::int64_t stream_bytes() const {
    return rows() * config.width * static_cast<std::int64_t>(dtype_bytes(cut.act));
  }
  bool is_first(int chunk) const { return cut.pp_rank == 0 && chunk == 0; }
  bool is_last(int chunk) const {
    return cut.pp_rank == cut.grid.pp - 1 && chunk == cut.chunks - 1;
  }

  // Calls of `call_rows` rows of the stream each, beside as many FLOPs.
  void add_sums(const char* what, std::int64_t n_calls, std::int64_t call_rows,
                double flops_beside) {
    if (n_calls == 0) return;
    const std::int64_t row = config.width * static_cast<std::int64_t>(dtype_bytes(cut.act));
    add(GridGroup::tp, CallKind::all_reduce, what, n_calls * call_rows * row);
    list.back().n_calls = n_calls;
    list.back().flops_beside = flops_beside;
  }
  // Where a block's rows go in two pieces (model/block), the sum of one runs beside what the other
  // is multiplied by meanwhile: the attention's last layer or the MLP, and behind that the next
  // block's first layer. Backward a sum runs beside the same layer's weight gradient.
  void in_layers(std::int64_t n_layers) {
    const ModelConfig& c = config;
    const bool overlaps = cut.device.type == DeviceType::cuda;
    const double once = 2.0 * static_cast<double>(c.width) / cut.grid.tp;  // a row by a column
    const double out = once * static_cast<double>(c.heads * c.head_dim),
                 qkv = once * static_cast<double>((c.heads + 2 * c.kv_heads) * c.head_dim),
                 up = once * static_cast<double>(c.gated ? 2 * c.ffn : c.ffn),
                 mlp = up + once * static_cast<double>(c.ffn);
    const std::int64_t passes = cut.n_micro * n_layers;
    const auto pieces = halves_of_rows(cut.B, cut.T, overlaps ? kPieceRows : rows());
    const auto sums_of_a_pass = [&](const char* what, std::int64_t n, bool again) {
      const bool ends_behind = !again && !c.has_output_norms() && !c.parallel_residual;
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        const bool beside = pieces.size() > 1, last = i + 1 == pieces.size();
        const auto other = static_cast<double>(pieces[last ? 0 : i + 1].n());
        const bool whole = !again || c.has_output_norms();
        add_sums(what, n, pieces[i].n(), !beside ? 0 : other * (!last ? out : whole ? mlp : up));
        if (whole)
          add_sums(what, n, pieces[i].n(),
                   !beside ? 0
                           : other * (!last         ? mlp
                                      : ends_behind ? qkv
                                                    : 0));
      }
    };
    sums_of_a_pass("sums of block outputs", passes, false);
    const std::int64_t again =
        cut.recompute == Recompute::none ? 0 : passes * (cut.splits_backward ? 2 : 1);
    sums_of_a_pass("sums of recomputed block outputs", again, true);
    const bool beside = overlaps && !cut.splits_backward;
    for (const double product : {up, qkv})
      add_sums("sums of block inputs' gradients", passes, rows(),
               beside ? static_cast<double>(rows()) * product : 0);
    if (config.qk_norm == QkNorm::whole)
      add(GridGroup::tp, CallKind::all_reduce, "sums of queries' and keys' squares",
          (2 * passes + again) * rows() * (config.heads + config.kv_heads) * 4);
  }
  void in_stage() {
    const std::int64_t n = cut.n_micro, x = stream_bytes();
    const std::vector<Range> layers = stage_layers(config, cut.grid.pp, cut.pp_rank, cut.chunks);
    for (int chunk = 0; chunk < cut.chunks; ++chunk) {
      if (cut.grid.tp > 1) {
        if (is_first(chunk)) add(GridGroup::tp, CallKind::all_reduce, "sums of embeddings", n * x);
        in_layers(layers[static_cast<std::size_t>(chunk)].size());
        if (is_last(chunk) && config.has_lm_head()) {
          add(GridGroup::tp, CallKind::all_gather, "the head's maxima and sums",
              n * rows() * cut.grid.tp * 3 * 4);
          const double product = 2.0 * static_cast<double>(rows() * config.width * config.vocab);
          add_sums("sums of the head's input's gradient", n, rows(),
                   cut.device.type == DeviceType::cuda ? product / cut.grid.tp : 0);
        }
      }
      if (!is_last(chunk)) add(GridGroup::pp, CallKind::send, "activations", n * x, false);
      if (!is_first(chunk)) add(GridGroup::pp, CallKind::send, "their gradients", n * x, false);
    }
  }
  // What GradientReducer sums besides the data-parallel buckets.
  void of_parameters() {
    const bool repeats_kv = cut.grid.tp > config.kv_heads;
    const bool is_end = cut.pp_rank == 0 || cut.pp_rank == cut.grid.pp - 1;
    for (const Parameter& p : parameters_of(config)) {
      if (!on_stage(p, config, cut.grid.pp, cut.pp_rank, cut.chunks)) continue;
      if (!p.tied_to.empty() && cut.grid.pp == 1) continue;
      const std::int64_t width = p.shape.elems() / p.shape[0];
      if (repeats_kv && (p.axis == ShardAxis::heads_qkv || p.axis == ShardAxis::heads_kv))
        add(GridGroup::tp, CallKind::all_reduce, "gradients of KV heads that several ranks hold",
            2 * config.kv_heads * config.head_dim * width * 4);
      if (cut.grid.tp > 1 && p.axis == ShardAxis::each_head)
        add(GridGroup::tp, CallKind::all_reduce, "gradients of every head's norm",
            p.shape.elems() * 4);
      const bool tied = !p.tied_to.empty() || (config.tied_head && config.has_lm_head() &&
                                               p.name == "embed.tokens.weight");
      if (cut.grid.pp > 1 && is_end && tied)
        add(GridGroup::tied_ends, CallKind::all_reduce, "the tied table's gradient",
            slice_of(p, config, cut.grid.tp, cut.tp_rank).local().elems() * 4);
    }
  }
  void of_the_step() {
    const GridShape& grid = cut.grid;
    if (grid.dp > 1) {
      add(GridGroup::dp, CallKind::all_reduce, "the count of labels", kScalarBytes);
      const auto elems = Parameters::plan_grad_elems(config, grid, cut.tp_rank, cut.pp_rank,
                                                     cut.chunks, cut.device);
      add(GridGroup::dp, CallKind::all_reduce, "gradients", 4 * (elems.all - elems.tables), false);
      add(GridGroup::dp, CallKind::all_reduce, "gradients of tables", 4 * elems.tables);
      add(GridGroup::dp, CallKind::broadcast, "the gradient's norm", kScalarBytes);
    }
    if (grid.tp * grid.pp > 1)
      add(GridGroup::replica, CallKind::all_reduce, "the gradient's norm", kScalarBytes);
    if (grid.ranks() > 1) add(GridGroup::world, CallKind::all_reduce, "the loss", kScalarBytes);
  }
};

}  // namespace

std::vector<StepTraffic> step_traffic(const ModelConfig& c, const StepCut& cut) {
  Traffic traffic = {c, cut};
  traffic.in_stage();
  traffic.of_parameters();
  traffic.of_the_step();
  return std::move(traffic.list);
}

double wire_bytes(CallKind call, double bytes, int n) {
  const double shared = static_cast<double>(n - 1) / n;
  switch (call) {
    case CallKind::all_reduce:
      return 2 * shared * bytes;
    case CallKind::reduce_scatter:
    case CallKind::all_gather:
      return shared * bytes;
    default:
      return n > 1 ? bytes : 0;
  }
}

std::int64_t decode_weight_bytes(const ModelConfig& c, DType dtype, bool with_head) {
  std::int64_t bytes = 0;
  for (const Parameter& p : parameters_of(c))
    if (p.layer != kEmbedding && (with_head || p.layer != kHead))
      bytes += p.shape.elems() *
               static_cast<std::int64_t>(dtype_bytes(p.shape.rank() < 2 ? DType::f32 : dtype));
  return bytes;
}

std::int64_t decode_cache_bytes(const ModelConfig& c, DType dtype, std::int64_t n_tokens) {
  std::int64_t tokens = 0;
  for (std::int64_t l = 0; l < c.layers; ++l)
    tokens += c.has_window(l) ? std::min(n_tokens, c.window) : n_tokens;
  return 2 * static_cast<std::int64_t>(dtype_bytes(dtype)) * c.kv_heads *
         kv_row_elems(dtype, c.head_dim) * tokens;
}

}  // namespace weft
