#include "model/parameters.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "core/host_copy.h"
#include "core/parallel.h"
#include "core/rng.h"
#include "kernels/ops.h"
#include "kernels/panels.h"
#include "model/sizes.h"

namespace weft {

namespace {

// Collects a model's parameters. What a knob leaves out has size 0 and is not listed.
struct Listing {
  std::vector<Parameter> list;
  void matrix(std::string name, Dims shape, ShardAxis axis, std::int64_t layer,
              Init init = Init::normal) {
    if (shape[0] > 0) list.push_back({std::move(name), shape, axis, init, true, layer, ""});
  }
  void vector(bool there, std::string name, std::int64_t n, ShardAxis axis, std::int64_t layer,
              Init init = Init::zeros) {
    if (there) list.push_back({std::move(name), Dims{n}, axis, init, false, layer, ""});
  }
  // Gemma's norms hold what is added to 1.
  static Init norm_init(const ModelConfig& c) {
    return c.norm_offset == 0 ? Init::ones : Init::zeros;
  }
  void norm(const ModelConfig& c, const std::string& name, std::int64_t layer, bool there = true) {
    vector(there, name + ".weight", c.width, ShardAxis::none, layer, norm_init(c));
    vector(there && c.norm == NormKind::layer, name + ".bias", c.width, ShardAxis::none, layer);
  }
};

}  // namespace

std::vector<Parameter> parameters_of(const ModelConfig& c) {
  Listing all;
  const std::int64_t C = c.width;
  const bool before = c.has_branch_norms(), behind = c.has_output_norms();
  const bool whole = c.qk_norm == QkNorm::whole, qk_norm = c.qk_norm != QkNorm::none;
  all.matrix("embed.tokens.weight", {c.vocab, C}, ShardAxis::vocab, kEmbedding);
  all.matrix("embed.positions.weight",
             {c.positions == Positions::learned ? c.context + c.first_position : 0, C},
             ShardAxis::none, kEmbedding);
  all.matrix("embed.types.weight", {c.token_types, C}, ShardAxis::none, kEmbedding);
  all.norm(c, "embed.norm", kEmbedding, c.embedding_norm);
  for (std::int64_t l = 0; l < c.layers; ++l) {
    const std::string layer = fmt::format("layers.{}.", l);
    const ShardAxis up = c.gated ? ShardAxis::ffn_gate_up : ShardAxis::ffn_out;
    all.norm(c, layer + "attn_norm", l, before);
    all.matrix(layer + "attn.qkv.weight", {c.qkv_rows(), C}, ShardAxis::heads_qkv, l);
    all.vector(c.qkv_bias, layer + "attn.qkv.bias", c.qkv_rows(), ShardAxis::heads_qkv, l);
    for (const auto& [name, heads, axis] :
         {std::tuple("attn.q_norm.weight", c.heads, ShardAxis::heads_q),
          std::tuple("attn.k_norm.weight", c.kv_heads, ShardAxis::heads_kv)})
      all.vector(qk_norm, layer + name, whole ? heads * c.head_dim : c.head_dim,
                 whole ? axis : ShardAxis::each_head, l, all.norm_init(c));
    all.matrix(layer + "attn.out.weight", {C, c.heads * c.head_dim}, ShardAxis::heads_in, l,
               Init::normal_residual);
    all.vector(c.out_bias, layer + "attn.out.bias", C, ShardAxis::none, l);
    all.norm(c, layer + "attn_post_norm", l, behind);
    all.norm(c, layer + "mlp_norm", l, before);
    all.matrix(layer + "mlp.up.weight", {c.up_rows(), C}, up, l);
    all.vector(c.mlp_bias, layer + "mlp.up.bias", c.up_rows(), up, l);
    all.matrix(layer + "mlp.down.weight", {C, c.ffn}, ShardAxis::ffn_in, l, Init::normal_residual);
    all.vector(c.mlp_bias, layer + "mlp.down.bias", C, ShardAxis::none, l);
    all.norm(c, layer + "mlp_post_norm", l, behind);
  }
  all.norm(c, "final_norm", kHead);
  if (c.has_lm_head()) {
    all.matrix("head.dense.weight", {c.head_transform ? C : 0, C}, ShardAxis::none, kHead);
    all.vector(c.head_transform, "head.dense.bias", C, ShardAxis::none, kHead);
    all.norm(c, "head.norm", kHead, c.head_transform);
    all.vector(c.head_bias, "head.bias", c.vocab, ShardAxis::vocab, kHead);
    all.matrix("head.weight", {c.vocab, C}, ShardAxis::vocab, kHead);
    if (c.tied_head) all.list.back().tied_to = "embed.tokens.weight";
  }
  const bool dense = c.head == HeadKind::classify && c.pooling != Pooling::last_token;
  for (const auto& [there, name] : {std::pair(dense, "pool"), std::pair(c.pooler, "pooler")}) {
    all.matrix(name + std::string(".weight"), {there ? C : 0, C}, ShardAxis::none, kHead);
    all.vector(there, name + std::string(".bias"), C, ShardAxis::none, kHead);
  }
  if (c.has_label_head()) {
    const std::string name = c.head == HeadKind::classify ? "labels" : "token_labels";
    all.matrix(name + ".weight", {c.n_labels, C}, ShardAxis::none, kHead);
    all.vector(c.label_bias, name + ".bias", c.n_labels, ShardAxis::none, kHead);
  }
  return std::move(all.list);
}

Slice slice_of(const Parameter& p, const ModelConfig& c, int tp, int tp_rank) {
  const std::int64_t D = c.head_dim;
  const auto rows_of = [&](Range heads, std::int64_t first) {
    return Range{first + heads.begin * D, first + heads.end * D};
  };
  switch (p.axis) {
    case ShardAxis::none:
    case ShardAxis::each_head:
      return {p.shape, -1, {}};
    case ShardAxis::vocab:
      return {p.shape, 0, {split_range(c.vocab, tp, tp_rank)}};
    case ShardAxis::heads_qkv: {
      const HeadShard shard = split_heads(c.heads, c.kv_heads, tp, tp_rank);
      return {p.shape,
              0,
              {rows_of(shard.q, 0), rows_of(shard.kv, c.heads * D),
               rows_of(shard.kv, (c.heads + c.kv_heads) * D)}};
    }
    case ShardAxis::heads_in:
      return {p.shape, 1, {rows_of(split_heads(c.heads, c.kv_heads, tp, tp_rank).q, 0)}};
    case ShardAxis::heads_q:
      return {p.shape, 0, {rows_of(split_heads(c.heads, c.kv_heads, tp, tp_rank).q, 0)}};
    case ShardAxis::heads_kv:
      return {p.shape, 0, {rows_of(split_heads(c.heads, c.kv_heads, tp, tp_rank).kv, 0)}};
    case ShardAxis::ffn_out:
      return {p.shape, 0, {split_range(c.ffn, tp, tp_rank)}};
    case ShardAxis::ffn_gate_up: {
      const Range gate = split_range(c.ffn, tp, tp_rank);
      return {p.shape, 0, {gate, {c.ffn + gate.begin, c.ffn + gate.end}}};
    }
    case ShardAxis::width_out:
      return {p.shape, 0, {split_range(c.width, tp, tp_rank)}};
    case ShardAxis::ffn_in:
      return {p.shape, 1, {split_range(c.ffn, tp, tp_rank)}};
  }
  CHECK(false, "{}: unknown shard axis", p.name);
}

std::vector<Range> owned_ranges(const Parameter& p, const ModelConfig& c, int tp, int tp_rank) {
  const Slice mine = slice_of(p, c, tp, tp_rank);
  if (mine.whole())
    return tp_rank == 0 ? std::vector<Range>{{0, p.shape[0]}} : std::vector<Range>{};
  if (p.axis != ShardAxis::heads_qkv && p.axis != ShardAxis::heads_kv) return mine.ranges;
  // KV heads that a lower rank holds too are that rank's.
  const HeadShard shard = split_heads(c.heads, c.kv_heads, tp, tp_rank);
  const Range kv{shard.kv.begin + repeated_kv_heads(c, tp, tp_rank), shard.kv.end};
  const auto rows_from = [&](std::int64_t head) {
    return Range{(head + kv.begin) * c.head_dim, (head + kv.end) * c.head_dim};
  };
  std::vector<Range> ranges;
  if (p.axis == ShardAxis::heads_kv) {
    if (kv.size() > 0) ranges = {rows_from(0)};
    return ranges;
  }
  ranges = {mine.ranges[0]};
  for (std::int64_t first : {c.heads, c.heads + c.kv_heads})
    if (kv.size() > 0) ranges.push_back(rows_from(first));
  return ranges;
}

std::int64_t repeated_kv_heads(const ModelConfig& c, int tp, int tp_rank) {
  if (tp_rank == 0) return 0;
  const Range mine = split_heads(c.heads, c.kv_heads, tp, tp_rank).kv;
  const std::int64_t taken = split_heads(c.heads, c.kv_heads, tp, tp_rank - 1).kv.end;
  return std::clamp<std::int64_t>(taken - mine.begin, 0, mine.size());
}

namespace {

// Layers of the i-th of n virtual stages.
Range layers_of(const ModelConfig& c, int n, int i) {
  if (n == 1) return {0, c.layers};
  const std::int64_t layer_cost = block_matrix_elems(c),
                     head_cost = c.has_lm_head() ? c.vocab * c.width : 0;
  std::int64_t last = 1, least = INT64_MAX;
  for (std::int64_t size = 1; size <= c.layers - (n - 1); ++size) {
    const std::int64_t most = (c.layers - size + n - 2) / (n - 1);  // of the others
    const std::int64_t slowest = std::max(most * layer_cost, size * layer_cost + head_cost);
    if (slowest <= least) least = slowest, last = size;
  }
  if (i == n - 1) return {c.layers - last, c.layers};
  return split_range(c.layers - last, n - 1, i);
}

}  // namespace

std::vector<Range> stage_layers(const ModelConfig& c, int pp, int stage, int chunks) {
  CHECK(0 <= stage && stage < pp && chunks >= 1 && pp * chunks <= c.layers,
        "stage {} of {} with {} chunks for {} layers", stage, pp, chunks, c.layers);
  std::vector<Range> list;
  for (int chunk = 0; chunk < chunks; ++chunk)
    list.push_back(layers_of(c, pp * chunks, chunk * pp + stage));
  return list;
}

bool on_stage(const Parameter& p, const ModelConfig& c, int pp, int stage, int chunks) {
  if (p.layer == kEmbedding) return stage == 0;
  if (p.layer == kHead) return stage == pp - 1;
  return std::ranges::any_of(stage_layers(c, pp, stage, chunks), [&](const Range& layers) {
    return layers.begin <= p.layer && p.layer < layers.end;
  });
}

namespace {

constexpr std::int64_t kAlignElems = 16;  // 64 bytes of fp32
constexpr std::int64_t kVocabRows = 128;  // on a GPU; a tile of the products' kernels

std::int64_t rounded_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

Dims dims_held(const Parameter& p, const Slice& slice, Device device) {
  Dims dims = slice.local();
  if (p.axis == ShardAxis::vocab) dims[0] = padded_vocab(dims[0], device);
  return dims;
}

// x lies in memory of `held` dims: the rows that are the parameter's.
View own_rows(const LocalParameter& p, View x) { return x.rows(0, p.slice.local()[0]); }

// Registry entries of one rank, in the order in which backward finishes their gradients, with their
// place in the flat arenas. A tied head shares the embedding's storage on one stage, and has
// storage of its own where the stages differ.
std::vector<LocalParameter> local_list(const ModelConfig& config, GridShape shape, int tp_rank,
                                       int pp_rank, int chunks, ParameterUse purpose, Device device,
                                       std::int64_t* elems) {
  std::vector<Parameter> all = parameters_of(config);
  std::reverse(all.begin(), all.end());
  std::vector<LocalParameter> list;
  *elems = 0;
  for (Parameter& p : all) {
    if (!on_stage(p, config, shape.pp, pp_rank, chunks)) continue;
    if (!p.tied_to.empty() && shape.pp == 1) continue;
    if (purpose == ParameterUse::inference &&
        (p.axis == ShardAxis::heads_in || p.axis == ShardAxis::ffn_in))
      p.axis = ShardAxis::width_out;
    LocalParameter local;
    local.slice = slice_of(p, config, shape.tp, tp_rank);
    local.held = dims_held(p, local.slice, device);
    local.info = std::move(p);
    local.flat_begin = *elems;
    local.flat_elems = rounded_up(local.held.elems(), kAlignElems);
    *elems += local.flat_elems;
    list.push_back(std::move(local));
  }
  return list;
}

bool has_copy(const LocalParameter& p, DType dtype, ParameterUse purpose) {
  return purpose == ParameterUse::training && dtype == DType::bf16 && p.info.shape.rank() == 2;
}

// Small vectors stay fp32 for inference; matrices are held in the storage dtype.
DType held_as(const LocalParameter& p, DType dtype, ParameterUse purpose) {
  return purpose == ParameterUse::training || p.info.shape.rank() < 2 ? DType::f32 : dtype;
}

void lay_out_weights(std::vector<LocalParameter>& list, Arena& arena, DType dtype,
                     ParameterUse purpose) {
  for (LocalParameter& p : list)
    p.weight = own_rows(p, arena.alloc(held_as(p, dtype, purpose), p.held));
}

void lay_out_copies(std::vector<LocalParameter>& list, Arena& arena, DType dtype,
                    ParameterUse purpose) {
  for (LocalParameter& p : list)
    if (has_copy(p, dtype, purpose)) p.weight_bf16 = own_rows(p, arena.alloc(DType::bf16, p.held));
}

}  // namespace

std::int64_t padded_vocab(std::int64_t V_tp, Device device) {
  return device.type == DeviceType::cpu ? V_tp : rounded_up(V_tp, kVocabRows);
}

Parameters::Parameters(const ModelConfig& config, const Grid& grid, DType dtype,
                       ParameterUse purpose, int chunks, Device device)
    : config_(config), chunks_(chunks) {
  std::int64_t elems = 0;
  list_ = local_list(config, grid.shape(), grid.tp().rank(), grid.pp().rank(), chunks, purpose,
                     device, &elems);
  weights_ = Arena("weights", measure([&](Arena& a) { lay_out_weights(list_, a, dtype, purpose); }),
                   device);
  lay_out_weights(list_, weights_, dtype, purpose);
  if (purpose == ParameterUse::inference) return;

  const auto flat_bytes = static_cast<std::size_t>(elems) * sizeof(float);
  grads_arena_ = Arena("gradients", flat_bytes, device);
  m_ = Arena("first moments", flat_bytes, device);
  v_ = Arena("second moments", flat_bytes, device);
  grads_ = grads_arena_.alloc(DType::f32, {elems});
  const View m = m_.alloc(DType::f32, {elems}), v = v_.alloc(DType::f32, {elems});
  for (LocalParameter& p : list_) {
    const auto part = [&](View flat) {
      return own_rows(p, flat.rows(p.flat_begin, p.flat_begin + p.held.elems()).reshape(p.held));
    };
    p.grad = part(grads_);
    p.m = part(m);
    p.v = part(v);
  }
  copies_ = Arena("bf16 weights",
                  measure([&](Arena& a) { lay_out_copies(list_, a, dtype, purpose); }), device);
  lay_out_copies(list_, copies_, dtype, purpose);
}

ParametersPlan Parameters::plan(const ModelConfig& config, GridShape shape, int tp_rank,
                                int pp_rank, DType dtype, ParameterUse purpose, Device device) {
  ParametersPlan plan;
  std::vector<LocalParameter> list =
      local_list(config, shape, tp_rank, pp_rank, 1, purpose, device, &plan.elems);
  plan.n_tensors = static_cast<std::int64_t>(list.size());
  plan.bytes = measure([&](Arena& a) { lay_out_weights(list, a, dtype, purpose); });
  if (purpose == ParameterUse::inference) return plan;
  plan.bytes += 3 * static_cast<std::size_t>(plan.elems) * sizeof(float) +
                measure([&](Arena& a) { lay_out_copies(list, a, dtype, purpose); });
  return plan;
}

Parameters::GradElems Parameters::plan_grad_elems(const ModelConfig& config, GridShape shape,
                                                  int tp_rank, int pp_rank, int chunks,
                                                  Device device) {
  GradElems elems;
  for (const LocalParameter& p : local_list(config, shape, tp_rank, pp_rank, chunks,
                                            ParameterUse::training, device, &elems.all))
    if (p.info.layer == kEmbedding) elems.tables += p.flat_elems;
  return elems;
}

std::size_t Parameters::plan_bytes(const ModelConfig& config, GridShape shape, int tp_rank,
                                   int pp_rank, DType dtype, ParameterUse purpose, Device device) {
  return plan(config, shape, tp_rank, pp_rank, dtype, purpose, device).bytes;
}

ParametersPlan Parameters::plan() const {
  ParametersPlan plan;
  for (const Arena* a : {&weights_, &copies_, &grads_arena_, &m_, &v_})
    plan.bytes += a->capacity_bytes();
  for (const LocalParameter& p : list_) plan.elems += p.flat_elems;
  plan.n_tensors = static_cast<std::int64_t>(list_.size());
  return plan;
}

const LocalParameter* Parameters::find(const std::string& name) const {
  for (const LocalParameter& p : list_)
    if (p.info.name == name) return &p;
  return nullptr;
}

const LocalParameter& Parameters::at(const std::string& name) const {
  const LocalParameter* p = find(name);
  CHECK(p, "no parameter {} on this rank", name);
  return *p;
}

namespace {

// Four normal numbers from one random block.
std::array<float, 4> normal_block(std::uint64_t key, std::uint64_t block) {
  const Philox words = philox(
      key, {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0x1217, 0});
  const auto [a, b] = normals(words[0], words[1]);
  const auto [c, d] = normals(words[2], words[3]);
  return {static_cast<float>(a), static_cast<float>(b), static_cast<float>(c),
          static_cast<float>(d)};
}

// out[i] = std · the normal number of global element begin + i
void fill_normal(float* out, std::int64_t begin, std::int64_t count, std::uint64_t key, float std,
                 int n_threads) {
  const std::int64_t first = begin / 4, last = (begin + count + 3) / 4;
  parallel_blocks(last - first, 4096, n_threads, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t block = first + from; block < first + to; ++block) {
      const std::array<float, 4> numbers = normal_block(key, static_cast<std::uint64_t>(block));
      for (std::int64_t j = 0; j < 4; ++j) {
        const std::int64_t i = block * 4 + j - begin;
        if (i >= 0 && i < count) out[i] = std * numbers[static_cast<std::size_t>(j)];
      }
    }
  });
}

}  // namespace

void Parameters::init_weights(std::uint64_t seed, Stream& stream) {
  for (LocalParameter& p : list_) {
    const std::string& name = p.info.tied_to.empty() ? p.info.name : p.info.tied_to;
    if (p.info.init == Init::zeros || p.info.init == Init::ones) {
      fill(p.weight, p.info.init == Init::ones ? 1 : 0, stream);
      continue;
    }
    const double scale = p.info.init == Init::normal_residual
                             ? 1.0 / std::sqrt(2.0 * static_cast<double>(config_.layers))
                             : 1.0;
    const auto std = static_cast<float>(config_.init_std * scale);
    HostWrite write(p.weight);
    float* w = write.host().as<float>();
    for (const Run& run : runs(p.slice))
      fill_normal(w + run.local_begin, run.global_begin, run.size, mix64(seed ^ name_hash(name)),
                  std, stream.n_threads());
    write.finish(stream);
  }
}

void Parameters::begin_grads() {
  for (const LocalParameter& p : list_) p.grad_begun = false;
}

void Parameters::finish_grads(std::int64_t begin, std::int64_t end, Stream& stream) {
  for (const LocalParameter& p : list_) {
    if (p.grad_begun || p.flat_begin < begin || p.flat_begin >= end) continue;
    if (p.grad.elems() > 0) fill(p.grad, 0, stream);
    p.grad_begun = true;
  }
}

void Parameters::zero_moments(Stream& stream) {
  for (LocalParameter& p : list_) {
    fill(p.m, 0, stream);
    fill(p.v, 0, stream);
  }
}

void Parameters::refresh_bf16(Stream& stream) {
  for (LocalParameter& p : list_)
    if (!p.weight_bf16.empty()) convert(p.weight_bf16, p.weight, stream);
}

void Parameters::to_panels(Stream& stream, TableUse table) {
  const bool last_stage =
      std::ranges::any_of(list_, [](const LocalParameter& p) { return p.info.layer == kHead; });
  for (LocalParameter& p : list_) {
    const bool is_head = table == TableUse::head && is_tied(p) && last_stage;
    if (p.weight.rank() == 2 && (p.info.layer != kEmbedding || is_head))
      p.weight = weft::to_panels(p.weight, stream);
  }
}

DType matrix_dtype(const Parameters& parameters) {
  for (const LocalParameter& p : parameters.list())
    if (p.info.shape.rank() >= 2) return p.weight.dtype();
  return DType::f32;
}

std::int64_t count_parameters(const ModelConfig& config) {
  std::int64_t n = 0;
  for (const Parameter& p : parameters_of(config))
    if (p.tied_to.empty()) n += p.shape.elems();
  return n;
}

}  // namespace weft
