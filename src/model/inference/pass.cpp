#include "model/inference/pass.h"

#include <algorithm>

#include "model/inference/buffers.h"
#include "model/rope.h"
#include "model/tensor_parallel.h"

namespace weft {

namespace {

constexpr int kTag = 3;

InferenceShape as_in(const Context& ctx, InferenceShape shape) {
  shape.act = ctx.act;
  shape.device = ctx.stream.device();
  return shape;
}

void put_rows(const Staged& staged, std::span<const std::int64_t> rows) {
  auto* to = staged.host.as<std::int32_t>();
  std::fill(to, to + staged.host.elems(), 0);  // row 0's for those that pad
  for (const std::int64_t row : rows) *to++ = static_cast<std::int32_t>(row);
}

// (1, N, …) as (1, M, …).
View first_rows(View x, std::int64_t M) {
  if (x.empty()) return x;
  Dims dims = x.shape();
  const std::int64_t N = dims[1];
  dims[1] = M;
  return x.reshape({N, x.elems() / N}).rows(0, M).reshape(dims);
}

// A row's angles depend on its place and, with some scalings, on how long its text is.
void fill_rope(const ModelConfig& c, View positions, View table, std::span<const CacheSlice> slices,
               std::span<const std::int64_t> lengths) {  // on the host
  const bool by_length =
      c.rope.scaling == RopeScaling::dynamic || c.rope.scaling == RopeScaling::longrope;
  std::vector<float> frequencies = rope_frequencies(c.rope, 1);
  std::fill(table.as<float>(), table.as<float>() + table.elems(), 0.0f);  // of rows that pad
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const CacheSlice& s = slices[i];
    if (by_length)
      frequencies = rope_frequencies(c.rope, lengths.empty() ? s.n_cached + s.n_rows : lengths[i]);
    for (std::int64_t r = 0; r < s.n_rows; ++r)
      fill_rope_row(table.as<float>() + (s.first_row + r) * c.rope.dims, s.n_cached + r,
                    frequencies, c.rope.attention_factor);
  }
  for (std::int64_t r = 0; r < positions.elems(); ++r)
    positions.as<std::int32_t>()[r] = static_cast<std::int32_t>(r);
}

}  // namespace

InferencePass::InferencePass(const Context& ctx, const ModelConfig& config,
                             const Parameters& parameters, InferenceShape shape)
    : ctx_(ctx),
      config_(config),
      shape_(as_in(ctx, shape)),
      layers_(stage_layers(config, ctx.grid.shape().pp, ctx.grid.pp().rank())[0]),
      cache_arena_("KV cache",
                   measure([&](Arena& a) { lay_out_cache(a, config, place_of(ctx.grid), shape_); }),
                   ctx.stream.device()),
      arena_("activations", activation_bytes(config, ctx.grid, shape_), ctx.stream.device()),
      cache_(lay_out_cache(cache_arena_, config, place_of(ctx.grid), shape_)) {
  // What grows as it is used would grow in the middle of a pass.
  shape_.weights = matrix_dtype(parameters);
  ctx.stream.scratch(scratch_bytes(ctx, config, shape_));
  HostSide largest;
  measure([&](Arena& a) { lay_out(a, largest, config, ctx.grid, shape_, shape.max_rows); });
  host_.pass.reserve(ctx.stream.device(), largest.pass.bytes());
  host_.results.reserve(ctx.stream.device(), largest.results.bytes());
  for (std::int64_t l = layers_.begin; l < layers_.end; ++l)
    blocks_.push_back(block_parameters(parameters, l));
  if (ctx.grid.is_first_stage()) embedding_ = find_embedding(parameters);
  if (ctx.grid.is_last_stage()) {
    final_norm_ = find_norm(parameters, "final_norm");
    if (config.has_lm_head()) head_ = find_lm_head(parameters);
    label_head_ = find_label_head(parameters, config);
  }
}

InferencePass::Buffers InferencePass::lay_out_again() {
  arena_.release(0);
  host_.pass.clear();
  host_.results.clear();
  return lay_out(arena_, host_, config_, ctx_.grid, shape_, n_laid_out_);
}

ConstView InferencePass::hidden(const DecoderRows& rows) { return run(rows, config_.layers); }

ConstView InferencePass::hidden_at(const DecoderRows& rows, std::int64_t layer) {
  CHECK(0 <= layer && layer <= config_.layers, "hidden states of layer {} of {}", layer,
        config_.layers);
  return run(rows, layer);
}

// The table of a pass, checked here: a GPU's kernels read it as it is.
void InferencePass::stage_pages(const DecoderRows& rows, const Staged& table) const {
  const std::int64_t M = pages_of(shape_.S), n = static_cast<std::int64_t>(rows.pages.size()) / M;
  CHECK(n <= shape_.slots && n * M == static_cast<std::int64_t>(rows.pages.size()),
        "a table of {} pages, for {} texts of {} each", rows.pages.size(), shape_.slots, M);
  for (const CacheSlice& s : rows.slices) {
    CHECK(s.slot >= 0 && s.slot < n && s.n_cached + s.n_rows <= shape_.S,
          "{} tokens of text {} of {}; planned for {}", s.n_cached + s.n_rows, s.slot, n, shape_.S);
    for (std::int64_t m = 0; m < pages_of(s.n_cached + s.n_rows); ++m) {
      const std::int32_t page = rows.pages[static_cast<std::size_t>(s.slot * M + m)];
      CHECK(page >= 0 && page < shape_.pages, "page {} of text {} is {}, of {} pages", m, s.slot,
            page, shape_.pages);
    }
  }
  std::copy(rows.pages.begin(), rows.pages.end(), table.host.as<std::int32_t>());
}

// Callers refuse these with a sentence of their own; no table is read past its end.
void InferencePass::check(const DecoderRows& rows) const {
  const std::size_t N = rows.ids.size();
  CHECK(N >= 1 && N <= static_cast<std::size_t>(shape_.max_rows) &&
            (rows.types.empty() || rows.types.size() == N),
        "{} rows; planned for {}", N, shape_.max_rows);
  for (const std::int32_t id : rows.ids)
    CHECK(id >= 0 && id < config_.vocab, "token {} of a vocabulary of {}", id, config_.vocab);
  for (const std::int32_t type : rows.types)
    CHECK_USER(type >= 0 && type < std::max<std::int64_t>(1, config_.token_types),
               "the tokenizer gives a token the type {}, but the model knows {} (type_vocab_size)",
               type, config_.token_types);
}

// Whether a pass is one of many in few shapes.
bool InferencePass::decodes(const DecoderRows& rows) const {
  return can_decode(ctx_, config_, shape_) && !ctx_.observer &&
         std::all_of(rows.slices.begin(), rows.slices.end(),
                     [](const CacheSlice& s) { return s.n_rows == 1; });
}

// Fills what the host knows of the rows and sends it off. What is laid out beyond them is of rows
// that are nobody's.
InferencePass::PassPlan InferencePass::stage_rows(const DecoderRows& rows, const Buffers& b) {
  PassPlan plan;
  for (const CacheSlice& s : rows.slices)
    plan.texts.push_back({s.first_row, s.first_row + s.n_rows, s.n_cached});
  const auto fill_row = [](const Staged& staged, std::span<const std::int32_t> values) {
    auto* to = staged.host.as<std::int32_t>();
    std::fill(std::copy(values.begin(), values.end(), to), to + staged.host.elems(), 0);
  };
  if (ctx_.grid.is_first_stage()) {
    fill_row(b.tokens.ids, rows.ids);
    if (!b.tokens.types.empty()) fill_row(b.tokens.types, rows.types);
    plan.scales = place_tokens(config_, b.tokens, plan.texts);
  }
  if (config_.positions == Positions::rope)
    fill_rope(config_, b.rope_positions.host, b.rope_table.host, rows.slices, rows.text_lengths);
  if (!b.pages.empty()) stage_pages(rows, b.pages);
  const CachedShape cached = cached_shape_of(shape_, n_laid_out_);
  for (const bool has_window : {false, true}) {
    const Staged& table = b.slices[has_window];
    if (table.empty()) continue;
    const std::span ints(table.host.as<std::int32_t>(),
                         static_cast<std::size_t>(table.host.elems()));
    CachedPlan& attention = plan.attention[has_window];
    attention =
        plan_cached(ints, rows.slices, cached,
                    weft::attention_args(config_, shape_of_block(), layer_of(config_, has_window)));
    attention.table = table.device;
  }
  if (!kept_.empty()) put_rows(b.kept, kept_);
  if (shape_.whole_texts) {
    auto* ends = b.text_ends.host.as<std::int32_t>();
    *ends++ = 0;
    for (const TextRows& text : plan.texts) *ends++ = static_cast<std::int32_t>(text.end);
  }
  host_.pass.upload(ctx_.stream);
  return plan;
}

BlockShape InferencePass::shape_of_block() const {
  return block_shape(config_, ctx_.grid, 1, n_laid_out_, shape_.act, ParameterUse::inference);
}

// The rows that the result will have; empty: all.
std::vector<std::int64_t> InferencePass::kept_of(const DecoderRows& rows, const Buffers& b,
                                                 std::int64_t stop) const {
  const bool few = !rows.wanted.empty() && rows.wanted.size() < rows.ids.size() &&
                   !b.kept.empty() &&
                   static_cast<std::int64_t>(rows.wanted.size()) <= b.kept.host.elems();
  if (!few || decoded_ || stop < config_.layers || ctx_.observer || blocks_.empty()) return {};
  CHECK(std::is_sorted(rows.wanted.begin(), rows.wanted.end()) && rows.wanted.front() >= 0 &&
            rows.wanted.back() < static_cast<std::int64_t>(rows.ids.size()),
        "rows {} to {} are asked for of {}", rows.wanted.front(), rows.wanted.back(),
        rows.ids.size());
  return {rows.wanted.begin(), rows.wanted.end()};
}

// A pass that decodes goes on to a padded number of rows, so that few shapes are met, whether they
// are launched as graphs or one by one.
ConstView InferencePass::run(const DecoderRows& rows, std::int64_t stop) {
  check(rows);
  const auto n = static_cast<std::int64_t>(rows.ids.size());
  decoded_ = stop == config_.layers && decodes(rows);
  n_laid_out_ = decoded_ ? std::min(padded_count(n), shape_.max_rows) : n;
  const Buffers b = lay_out_again();
  kept_ = kept_of(rows, b, stop);
  const PassPlan plan = stage_rows(rows, b);
  if (!decoded_) return forward(plan, b, stop);
  GraphCache::Key key = {n_laid_out_};
  for (const CachedPlan& p : plan.attention)
    key.insert(key.end(), {p.split.blocks, std::int64_t{p.split.joins}});
  give(pass_graphs_, key, [&] { forward(plan, b, stop); });
  return b.y.reshape({n_laid_out_, config_.width}).rows(0, n);
}

// As a graph, where the last pass decoded.
void InferencePass::give(GraphCache& graphs, const GraphCache::Key& key,
                         const std::function<void()>& work) {
  if (decoded_ && ctx_.graphs)
    graphs.run(key, ctx_.stream, work);
  else
    work();
}

// Stops before block `stop`; what it would have been given then passes through the stages behind it
// as it is.
ConstView InferencePass::forward(const PassPlan& plan, const Buffers& b, std::int64_t stop) {
  const std::int64_t N = n_laid_out_;
  const View x_rows = b.x.reshape({N, config_.width});
  Communicator& pp = ctx_.grid.pp();
  if (ctx_.grid.is_first_stage()) {
    embed(ctx_, embedding_, b.tokens, plan.texts, plan.scales, {}, b.x);
  } else {
    const auto timed = time_as(ctx_, TimeShare::bubble);  // waiting for the stage before
    pp.recv(x_rows, pp.rank() - 1, kTag, ctx_.stream);
  }
  BlockTokens tokens = {.positions = b.rope_positions.device,
                        .rope_table = b.rope_table.device,
                        .lengths = ConstView(),
                        .packed = shape_.whole_texts};
  if (shape_.whole_texts)
    tokens.lengths = b.text_ends.device.rows(0, static_cast<std::int64_t>(plan.texts.size()) + 1);
  const BlockShape shape = shape_of_block();
  const auto M = static_cast<std::int64_t>(kept_.empty() ? 0 : kept_.size());
  const KeptRows kept =
      M == 0 ? KeptRows()
             : KeptRows{b.kept.device.rows(0, M), b.kept_attn.rows(0, M), b.kept_stream.rows(0, M)};
  ConstView x = b.x, delta;
  RowSums sums;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const std::int64_t layer = layers_.begin + static_cast<std::int64_t>(i);
    if (layer >= stop) break;
    const BlockInference inference = {cache_[i].first,
                                      cache_[i].second,
                                      b.pages.device,
                                      &plan.attention[config_.has_window(layer)],
                                      b.gather ? &*b.gather : nullptr,
                                      M > 0 && i + 1 == blocks_.size() ? &kept : nullptr};
    x = block_forward({.ctx = ctx_,
                       .config = config_,
                       .layer = layer,
                       .shape = shape,
                       .parameters = blocks_[i],
                       .activations = b.block,
                       .tokens = tokens,
                       .dropout = {}},
                      &inference, x, delta, b.delta, sums);
    delta = b.delta;
  }
  const bool stopped = stop < layers_.end, post = config_.norm_place == NormPlace::post;
  if (stopped && stop >= layers_.begin &&
      post) {  // the stream of a post-norm model is what the next block's norm makes of it
    add_norm(ctx_, b.block.y1, b.block.sum1, b.block.norm1, x, delta,
             blocks_[static_cast<std::size_t>(stop - layers_.begin)].norm1, {});
    convert(b.x, b.block.y1, ctx_.stream);
    delta = ConstView();
    x = b.x;
  }
  if (!ctx_.grid.is_last_stage()) {
    if (!delta.empty()) add_delta(ctx_, b.x, x, delta, {});
    const auto timed = time_as(ctx_, TimeShare::comm);
    pp.send(x_rows, pp.rank() + 1, kTag, ctx_.stream);
    return {};
  }
  if (stopped) {
    if (!delta.empty()) add_delta(ctx_, b.x, x, delta, {});
    return x_rows;
  }
  if (M == 0) {
    add_norm(ctx_, b.y, b.x, b.final_norm, x, delta, final_norm_, {});
    return b.y.reshape({N, config_.width});
  }
  const NormStatistics statistics = {first_rows(b.final_norm.mean, M),
                                     first_rows(b.final_norm.rstd, M)};
  add_norm(ctx_, first_rows(b.y, M), first_rows(b.x, M), statistics, x, first_rows(b.delta, M),
           final_norm_, {});
  return first_rows(b.y, M).reshape({M, config_.width});
}

void InferencePass::copy_page(std::int64_t from, std::int64_t to, std::int64_t n_tokens) {
  CHECK(from != to && n_tokens <= kPageTokens, "{} tokens of page {} to page {}; a page holds {}",
        n_tokens, from, to, kPageTokens);
  for (const auto& [k, v] : cache_)
    for (const View& x : {k, v}) {
      const auto tokens = [&](std::int64_t page) {
        return x.rows(page, page + 1).reshape({x.dim(1), x.dim(2), x.dim(3)}).rows(0, n_tokens);
      };
      copy_bytes(tokens(to).data(), tokens(from).data(), tokens(to).bytes(), ctx_.stream);
    }
}

// Where rows of the pass are in its result.
std::vector<std::int64_t> InferencePass::places(std::span<const std::int64_t> rows) const {
  std::vector<std::int64_t> all(rows.begin(), rows.end());
  if (kept_.empty()) return all;
  for (std::int64_t& row : all) {
    const auto found = std::lower_bound(kept_.begin(), kept_.end(), row);
    CHECK(found != kept_.end() && *found == row, "row {} was not asked for", row);
    row = found - kept_.begin();
  }
  return all;
}

ConstView InferencePass::logits(ConstView hidden, std::span<const std::int64_t> rows) {
  const Buffers b = lay_out_again();
  const auto n = static_cast<std::int64_t>(rows.size()), most = b.picked.dim(0);
  CHECK(n >= 1 && n <= most, "logits of {} rows; planned for {}", n, most);
  put_rows(b.rows, places(rows));
  host_.results.upload(ctx_.stream);
  const std::int64_t R = decoded_ ? std::min(padded_count(n), most) : n;
  const ConstView all = decoded_ ? ConstView(b.y.reshape({n_laid_out_, config_.width})) : hidden;
  give(logits_graphs_, {n_laid_out_, R}, [&] {
    gather_rows(b.picked.rows(0, R), all, b.rows.device.rows(0, R), ctx_.stream);
    head_logits(ctx_, b.logits.rows(0, R), b.shard.rows(0, R),
                b.gathered.empty() ? View() : b.gathered.rows(0, b.gathered.elems() / most * R),
                b.picked.rows(0, R), head_, b.logits_head);
  });
  return b.logits.rows(0, n);
}

ConstView InferencePass::losses(ConstView hidden, std::span<const std::int32_t> labels,
                                std::span<const std::int64_t> rows) {
  const Buffers b = lay_out_again();
  const auto n = static_cast<std::int64_t>(labels.size());
  CHECK(n >= 1 && n <= hidden.dim(0) && (rows.empty() || rows.size() == labels.size()),
        "losses of {} labels, {} of {} rows", n, rows.size(), hidden.dim(0));
  std::copy(labels.begin(), labels.end(), b.labels.host.as<std::int32_t>());
  put_rows(b.rows, rows);
  host_.results.upload(ctx_.stream);
  ConstView y = hidden;
  if (!rows.empty()) {
    const View chosen = b.delta.reshape({hidden.dim(0), config_.width}).rows(0, n);
    gather_rows(chosen, hidden, b.rows.device.rows(0, n), ctx_.stream);
    y = chosen;
  }
  head_loss(ctx_, b.loss.rows(0, n), View(), y, b.labels.device.rows(0, n), head_, 0, b.head);
  return b.loss.rows(0, n);
}

ConstView InferencePass::labels(ConstView hidden, std::span<const std::int64_t> rows) {
  const Buffers b = lay_out_again();
  const auto M = static_cast<std::int64_t>(rows.size());
  CHECK(M >= 1 && M <= b.picked.dim(0), "labels of {} rows; planned for {}", M, b.picked.dim(0));
  put_rows(b.rows, rows);
  host_.results.upload(ctx_.stream);
  label_logits({.ctx = ctx_,
                .config = config_,
                .head = label_head_,
                .scratch = b.labelled,
                .rows = b.rows.device.rows(0, M)},
               hidden);
  return (label_head_.labels_w ? b.labelled.logits : b.labelled.pooled).rows(0, M);
}

}  // namespace weft
