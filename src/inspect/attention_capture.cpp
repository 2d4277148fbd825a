#include "inspect/attention_capture.h"

#include <algorithm>
#include <string_view>

#include "core/host_copy.h"

namespace weft {
namespace {

constexpr int kTag = 5;

// Chosen heads of this rank that read one of its key heads. Of each layer (T, n + 1, D) is kept:
// their queries, then the key.
struct HeadGroup {
  std::size_t first = 0;             // among the chosen heads, the first of these n
  std::vector<std::int64_t> q_rows;  // (n) where their queries lie in a token's qkv …
  std::int64_t k_row = 0;            // … and the key
  std::int64_t before = 0;           // heads that the groups before it keep
  std::int64_t n() const { return static_cast<std::int64_t>(q_rows.size()); }
};

// Who has what of the choice.
struct CapturePlan {
  std::vector<std::size_t> layers;  // of the chosen ones, those of this rank's stage
  std::vector<HeadGroup> groups;
  std::int64_t n_kept = 0;          // heads that the groups keep
  std::vector<int> owners;          // (S) tp rank of each chosen head
  std::vector<std::int64_t> kv_of;  // (S) as LayerCapture's
  std::int64_t n_kv = 0;
};

struct CaptureRoom {
  std::vector<View> kept;    // (T · n_kept · D) of each own layer
  std::vector<View> hidden;  // (rows, C) of each hidden state of this stage
  View map;                  // (T · T)
  View maps, q, k;           // of a whole layer, flat, on the replica's first rank
};

Range layers_of(const ModelConfig& config, const Grid& grid, int stage) {
  return stage_layers(config, grid.shape().pp, stage)[0];
}
int stage_of(const ModelConfig& config, const Grid& grid, std::int64_t layer) {
  int stage = 0;
  while (layer >= layers_of(config, grid, stage).end) ++stage;
  return stage;
}

CapturePlan make_plan(const ModelConfig& config, const Grid& grid, const CaptureChoice& choice) {
  CapturePlan plan;
  const int tp = grid.shape().tp;
  const Range mine = layers_of(config, grid, grid.pp().rank());
  for (std::size_t l = 0; l < choice.layers.size(); ++l)
    if (choice.layers[l] >= mine.begin && choice.layers[l] < mine.end) plan.layers.push_back(l);
  const std::int64_t per_key = config.heads / config.kv_heads;
  const HeadShard own = split_heads(config.heads, config.kv_heads, tp, grid.tp().rank());
  for (std::size_t s = 0; s < choice.heads.size(); ++s) {
    const std::int64_t head = choice.heads[s], kv = head / per_key;
    const bool new_key = s == 0 || choice.heads[s - 1] / per_key != kv;
    plan.n_kv += new_key;
    plan.kv_of.push_back(plan.n_kv - 1);
    int owner = 0;
    while (head >= split_heads(config.heads, config.kv_heads, tp, owner).q.end) ++owner;
    plan.owners.push_back(owner);
    if (owner != grid.tp().rank()) continue;
    const std::int64_t k_row = own.q.size() + kv - own.kv.begin;
    if (plan.groups.empty() || plan.groups.back().k_row != k_row) {
      const std::int64_t before =
          plan.groups.empty() ? 0 : plan.groups.back().before + plan.groups.back().n() + 1;
      plan.groups.push_back({.first = s, .q_rows = {}, .k_row = k_row, .before = before});
    }
    plan.groups.back().q_rows.push_back(head - own.q.begin);
  }
  if (!plan.groups.empty()) plan.n_kept = plan.groups.back().before + plan.groups.back().n() + 1;
  return plan;
}

InferenceShape shape_of(const ModelConfig& config, const CaptureChoice& choice, std::int64_t T) {
  return {.slots = 1,
          .S = T,
          .max_rows = T,
          .max_logit_rows = std::max<std::int64_t>(1, choice.logit_rows),
          .whole_texts = !config.causal};
}

// The hidden states that a stage makes: each layer's input, behind the last layer the final norm's
// output.
std::int64_t n_hidden(const ModelConfig& config, const Grid& grid) {
  return layers_of(config, grid, grid.pp().rank()).size() + grid.is_last_stage();
}
// Those of tp ranks are the same: each keeps a part of the rows.
Range hidden_rows(const Grid& grid, std::int64_t T) {
  return split_range(T, grid.shape().tp, grid.tp().rank());
}

CaptureRoom lay_out(Arena& arena, const ModelConfig& config, const Grid& grid,
                    const CaptureChoice& choice, const CapturePlan& plan, std::int64_t T) {
  CaptureRoom room;
  const auto f32 = [&](std::int64_t elems) { return arena.alloc(DType::f32, {elems}); };
  const std::int64_t D = config.head_dim, S = static_cast<std::int64_t>(choice.heads.size());
  if (plan.n_kept > 0)
    for (std::size_t l = 0; l < plan.layers.size(); ++l)
      room.kept.push_back(f32(T * plan.n_kept * D));
  if (choice.hidden)
    for (std::int64_t i = 0; i < n_hidden(config, grid); ++i)
      room.hidden.push_back(f32(hidden_rows(grid, T).size() * config.width));
  room.map = f32(T * T);
  if (!choice.whole_layers || grid.replica().rank() != 0) return room;
  room.maps = f32(S * T * T);
  room.q = f32(T * S * D);
  room.k = f32(T * plan.n_kv * D);
  return room;
}

// The first elements of a flat room.
View part_of(View room, const Dims& shape) { return room.rows(0, shape.elems()).reshape(shape); }

// out (T, n, D)[:, i] = in (T, m, D)[:, j]
void copy_head(View out, std::int64_t i, ConstView in, std::int64_t j) {
  const auto [T, n, D] = out.dims<3>();
  const std::int64_t m = in.dim(1);
  for (std::int64_t t = 0; t < T; ++t)
    std::copy_n(in.as<float>() + (t * m + j) * D, D, out.as<float>() + (t * n + i) * D);
}

}  // namespace

struct AttentionCapture::Impl {
  Context& ctx;
  const ModelConfig& config;
  const CaptureChoice choice;
  const CapturePlan plan;
  const Range stage;  // its layers
  InferencePass pass;
  Arena arena;
  const CaptureRoom room;
  Stream host;  // what was captured is the host's, and so are the maps
  HostCopy copy;
  std::int64_t T = 0;
  ConstView last_hidden;  // (T, C) on the last stage

  Impl(Context& context, const ModelConfig& c, const Parameters& parameters, CaptureChoice chosen,
       std::int64_t max_tokens)
      : ctx(context),
        config(c),
        choice(std::move(chosen)),
        plan(make_plan(c, ctx.grid, choice)),
        stage(layers_of(c, ctx.grid, ctx.grid.pp().rank())),
        pass(ctx, c, parameters, shape_of(c, choice, max_tokens)),
        arena("attention capture",
              measure([&](Arena& a) { lay_out(a, c, ctx.grid, choice, plan, max_tokens); })),
        room(lay_out(arena, c, ctx.grid, choice, plan, max_tokens)),
        host({}, ctx.stream.n_threads()) {}

  bool gathers() const { return choice.whole_layers && ctx.grid.replica().rank() == 0; }

  View kept(std::size_t own_layer, const HeadGroup& group) const {
    const std::int64_t D = config.head_dim;
    return room.kept[own_layer]
        .rows(T * group.before * D, T * (group.before + group.n() + 1) * D)
        .reshape({T, group.n() + 1, D});
  }

  void keep(std::int64_t layer, std::string_view name, ConstView view) {
    if (name == "input" && choice.hidden) keep_hidden(layer, view);
    const bool is_chosen = std::ranges::any_of(
        plan.layers, [&](std::size_t place) { return choice.layers[place] == layer; });
    if (name != "qkv" || !is_chosen) return;
    const ConstView qkv = copy.floats(view, ctx.stream).reshape({T, view.dim(2), view.dim(3)});
    for (std::size_t l = 0; l < plan.layers.size(); ++l) {
      if (choice.layers[plan.layers[l]] != layer) continue;
      for (const HeadGroup& group : plan.groups) {
        const View block = kept(l, group);
        for (std::int64_t i = 0; i < group.n(); ++i)
          copy_head(block, i, qkv, group.q_rows[static_cast<std::size_t>(i)]);
        copy_head(block, group.n(), qkv, group.k_row);
      }
    }
  }

  void keep_hidden(std::int64_t layer, ConstView stream) {
    const Range rows = hidden_rows(ctx.grid, T);
    const std::int64_t C = config.width;
    std::copy_n(copy.floats(stream, ctx.stream).as<float>() + rows.begin * C, rows.size() * C,
                room.hidden[static_cast<std::size_t>(layer - stage.begin)].as<float>());
  }

  // map (T, T) of the group's i-th head.
  void compute(View map, std::size_t own_layer, const HeadGroup& group, std::int64_t i) {
    const BlockShape shape =
        block_shape(config, ctx.grid, 1, T, DType::f32, ParameterUse::inference);
    AttentionArgs args = attention_args(config, shape, choice.layers[plan.layers[own_layer]]);
    args.n_heads = static_cast<int>(group.n());
    args.n_kv_heads = 1;
    const int head = static_cast<int>(i);
    attention_weights(map.reshape({1, T, T}), kept(own_layer, group), {&head, 1}, args, host);
  }

  // f(own layer, group, i) for a head of this rank: chosen layer and head.
  template <class F>
  void with_own(std::size_t layer, std::size_t head, const F& f) const {
    const auto at = std::find(plan.layers.begin(), plan.layers.end(), layer);
    for (const HeadGroup& group : plan.groups)
      if (head >= group.first && head < group.first + group.q_rows.size())
        f(static_cast<std::size_t>(at - plan.layers.begin()), group,
          static_cast<std::int64_t>(head - group.first));
  }

  void bring_together(std::size_t layer, std::size_t head, int owner, View map);
};

// A head's map, queries and (of the first that reads it) key go to the replica's first rank.
void AttentionCapture::Impl::bring_together(std::size_t layer, std::size_t head, int owner,
                                            View map) {
  Communicator& replica = ctx.grid.replica();
  const bool mine = owner == replica.rank(), gathering = gathers();
  if (!mine && !gathering) return;
  const std::int64_t D = config.head_dim, S = static_cast<std::int64_t>(choice.heads.size());
  std::vector<float> moved(static_cast<std::size_t>(T * D));
  const View one = View(moved.data(), Dims{T, 1, D});
  // Column `to` of a whole layer's q or k, from column `from` of what a group keeps.
  const auto move = [&](View whole, std::int64_t to, ConstView from_block, std::int64_t from) {
    if (mine) copy_head(one, 0, from_block, from);
    if (mine && !gathering) replica.send(one, 0, kTag, ctx.stream);
    if (!mine) replica.recv(one, owner, kTag, ctx.stream);
    if (gathering) copy_head(whole, to, one, 0);
  };
  if (mine && !gathering) replica.send(map, 0, kTag, ctx.stream);
  if (!mine) replica.recv(map, owner, kTag, ctx.stream);
  const View q = gathering ? part_of(room.q, {T, S, D}) : View(),
             k = gathering ? part_of(room.k, {T, plan.n_kv, D}) : View();
  View block;
  std::int64_t i = 0, n = 0;
  if (mine)
    with_own(layer, head, [&](std::size_t own, const HeadGroup& group, std::int64_t of_group) {
      block = kept(own, group), i = of_group, n = group.n();
    });
  move(q, static_cast<std::int64_t>(head), block, i);
  if (head == 0 || plan.kv_of[head - 1] != plan.kv_of[head]) move(k, plan.kv_of[head], block, n);
}

AttentionCapture::AttentionCapture(Context& ctx, const ModelConfig& config,
                                   const Parameters& parameters, CaptureChoice choice,
                                   std::int64_t max_tokens)
    : impl_(std::make_unique<Impl>(ctx, config, parameters, std::move(choice), max_tokens)) {}
AttentionCapture::~AttentionCapture() = default;

std::size_t AttentionCapture::plan_bytes(const Context& ctx, const ModelConfig& config,
                                         const CaptureChoice& choice, std::int64_t max_tokens) {
  const CapturePlan plan = make_plan(config, ctx.grid, choice);
  InferenceShape shape = shape_of(config, choice, max_tokens);
  shape.act = ctx.act;
  shape.device = ctx.stream.device();
  return InferencePass::plan_bytes(config, ctx.grid, shape) +
         InferencePass::kept_bytes(ctx, config, shape) +
         measure([&](Arena& a) { lay_out(a, config, ctx.grid, choice, plan, max_tokens); });
}

std::int64_t AttentionCapture::n_tokens() const { return impl_->T; }
const CaptureChoice& AttentionCapture::choice() const { return impl_->choice; }

void AttentionCapture::run(std::span<const std::int32_t> ids, std::span<const std::int32_t> types) {
  Impl& m = *impl_;
  m.T = static_cast<std::int64_t>(ids.size());
  const CacheSlice whole = {.first_row = 0, .n_rows = m.T, .n_cached = 0, .slot = 0};
  // Set for the pass alone, also where it throws.
  struct Listening {
    Context& ctx;
    ~Listening() { ctx.observer = nullptr; }
  } const listening{m.ctx};
  m.ctx.observer = [&](std::int64_t layer, std::string_view name, ConstView view) {
    m.keep(layer, name, view);
  };
  m.last_hidden = m.pass.hidden(
      {.ids = ids, .types = types, .slices = std::span(&whole, 1), .text_lengths = {}});
  if (m.choice.hidden && m.ctx.grid.is_last_stage()) m.keep_hidden(m.stage.end, m.last_hidden);
}

std::vector<HeadStatistics> AttentionCapture::collect(const LayerSink& sink) {
  Impl& m = *impl_;
  CHECK(sink || !m.gathers(), "layers are brought together for nobody");
  const std::size_t L = m.choice.layers.size(), S = m.choice.heads.size();
  const std::int64_t T = m.T, D = m.config.head_dim, n_heads = static_cast<std::int64_t>(S);
  const Grid& grid = m.ctx.grid;
  std::vector<double> sums(L * S * 3);  // of ranks, of which one has each head
  for (std::size_t l = 0; l < L; ++l) {
    const std::int64_t layer = m.choice.layers[l];
    const int first_owner = stage_of(m.config, grid, layer) * grid.shape().tp;
    for (std::size_t s = 0; s < S; ++s) {
      const int owner = first_owner + m.plan.owners[s];
      const View map = m.gathers() ? m.room.maps.rows(static_cast<std::int64_t>(s) * T * T,
                                                      static_cast<std::int64_t>(s + 1) * T * T)
                                   : part_of(m.room.map, {T * T});
      if (owner == grid.replica().rank())
        m.with_own(l, s, [&](std::size_t own, const HeadGroup& group, std::int64_t i) {
          m.compute(map, own, group, i);
          const HeadStatistics h = head_statistics(map.reshape({T, T}), m.host.n_threads());
          const double numbers[] = {h.entropy, h.first_share, h.distance};
          std::copy_n(numbers, 3, sums.begin() + static_cast<std::ptrdiff_t>(3 * (l * S + s)));
        });
      if (m.choice.whole_layers) m.bring_together(l, s, owner, map);
    }
    if (m.gathers())
      sink({.layer = layer,
            .maps = part_of(m.room.maps, {n_heads, T, T}),
            .q = part_of(m.room.q, {T, n_heads, D}),
            .k = part_of(m.room.k, {T, m.plan.n_kv, D}),
            .kv_of = m.plan.kv_of,
            .scale = m.config.layer_attention_scale(layer),
            .softcap = m.config.attention_softcap,
            .window = m.config.has_window(layer) ? m.config.window : 0});
  }
  grid.replica().all_reduce(View(sums.data(), Dims{static_cast<std::int64_t>(sums.size())}),
                            ReduceOp::sum, m.ctx.stream);
  std::vector<HeadStatistics> all;
  for (std::size_t i = 0; i < sums.size(); i += 3)
    all.push_back({sums[i], sums[i + 1], sums[i + 2]});
  return all;
}

void AttentionCapture::each_own_map(const MapVisitor& visit) {
  Impl& m = *impl_;
  const View map = part_of(m.room.map, {m.T, m.T});
  for (std::size_t l = 0; l < m.plan.layers.size(); ++l)
    for (const HeadGroup& group : m.plan.groups)
      for (std::int64_t i = 0; i < group.n(); ++i) {
        m.compute(map, l, group, i);
        visit(m.plan.layers[l], group.first + static_cast<std::size_t>(i), map);
      }
}

void AttentionCapture::each_own_hidden(const HiddenVisitor& visit) const {
  const Impl& m = *impl_;
  const Range rows = hidden_rows(m.ctx.grid, m.T);
  for (std::size_t i = 0; i < m.room.hidden.size() && rows.size() > 0; ++i)
    visit(m.stage.begin + static_cast<std::int64_t>(i), rows.begin,
          part_of(m.room.hidden[i], {rows.size(), m.config.width}));
}

ConstView AttentionCapture::logits(Range rows) {
  Impl& m = *impl_;
  CHECK(rows.begin >= 0 && rows.end <= m.T && rows.size() <= m.choice.logit_rows,
        "logits of rows {} to {} of {}", rows.begin, rows.end, m.T);
  if (!m.ctx.grid.is_last_stage()) return {};
  std::vector<std::int64_t> chosen;
  for (std::int64_t r = rows.begin; r < rows.end; ++r) chosen.push_back(r);
  return m.copy.floats(m.pass.logits(m.last_hidden, chosen), m.ctx.stream);
}

}  // namespace weft
