#include "infer/search/neighbors.h"

#include <algorithm>
#include <cmath>

#include "comm/pass_limit.h"
#include "core/host_copy.h"
#include "core/parallel.h"

namespace weft {
namespace {

// The rows of the token embedding that this rank holds, as fp32.
struct EmbeddingRows {
  std::vector<float> values;
  std::int64_t first = 0, n = 0, C = 0;
  const float* row(std::int64_t r) const { return values.data() + r * C; }
};

EmbeddingRows rows_of(const Parameters& parameters, Stream& stream) {
  EmbeddingRows rows;
  const LocalParameter* p = parameters.find("embed.tokens.weight");
  if (!p) return rows;
  rows.first = p->slice.whole() ? 0 : p->slice.ranges[0].begin;
  rows.n = p->weight.dim(0);
  rows.C = p->weight.dim(1);
  rows.values.resize(static_cast<std::size_t>(p->weight.elems()));
  HostCopy copy;
  Stream host({}, stream.n_threads());
  convert(View(rows.values.data(), p->weight.shape()), copy.of(p->weight, stream), host);
  return rows;
}

double dot(const float* a, const float* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

// The rows (n, C) of tokens, each from the rank that holds it.
std::vector<float> whole_rows(const Context& ctx, const EmbeddingRows& rows, std::int64_t C,
                              std::span<const std::int32_t> tokens) {
  std::vector<float> all(tokens.size() * static_cast<std::size_t>(C), 0.0f);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] >= rows.first && tokens[i] < rows.first + rows.n)
      std::copy_n(rows.row(tokens[i] - rows.first), C,
                  all.begin() + static_cast<std::ptrdiff_t>(i) * C);
  ctx.grid.replica().all_reduce(View(all.data(), Dims{static_cast<std::int64_t>(all.size())}),
                                ReduceOp::sum, ctx.stream);
  return all;
}

}  // namespace

std::vector<float> token_vectors(const Context& ctx, const ModelConfig& config,
                                 const Parameters& parameters,
                                 const std::vector<std::int32_t>& tokens) {
  return whole_rows(ctx, rows_of(parameters, ctx.stream), config.width, tokens);
}

NearTokens nearest_tokens(const Context& ctx, const ModelConfig& config,
                          const Parameters& parameters, const std::vector<std::int32_t>& tokens,
                          Metric metric, std::int64_t top_k) {
  const EmbeddingRows rows = rows_of(parameters, ctx.stream);
  const std::int64_t C = config.width;
  Communicator& replica = ctx.grid.replica();
  NearTokens all;
  if (ctx.limit) ctx.limit->begin();
  for (const std::int32_t token : tokens) {
    if (ctx.limit) all.ended = ctx.limit->ended(ctx.grid.world(), ctx.stream);
    if (all.ended) break;
    const std::vector<float> query = whole_rows(ctx, rows, C, {&token, 1});
    const double own = std::sqrt(dot(query.data(), query.data(), C));
    std::vector<double> scores(static_cast<std::size_t>(config.vocab), 0.0);
    const auto score_row = [&](std::int64_t r) {
      const float* row = rows.row(r);
      const double product = dot(query.data(), row, C), size = std::sqrt(dot(row, row, C));
      double score = product;
      if (metric == Metric::cosine) score = product / std::max(own * size, 1e-12);
      if (metric == Metric::l2)
        score = std::sqrt(std::max(0.0, own * own + size * size - 2 * product));
      scores[static_cast<std::size_t>(rows.first + r)] = score;
    };
    parallel_blocks(rows.n, 256, ctx.stream.n_threads(), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) score_row(r);
    });
    replica.all_reduce(View(scores.data(), Dims{config.vocab}), ReduceOp::sum, ctx.stream);
    std::vector<std::int32_t> order;
    for (std::int32_t id = 0; id < config.vocab; ++id)
      if (id != token) order.push_back(id);
    const auto k = static_cast<std::ptrdiff_t>(
        std::min<std::int64_t>(top_k, static_cast<std::int64_t>(order.size())));
    std::partial_sort(order.begin(), order.begin() + k, order.end(),
                      [&](std::int32_t a, std::int32_t b) {
                        const double x = scores[static_cast<std::size_t>(a)],
                                     y = scores[static_cast<std::size_t>(b)];
                        return x != y ? (metric == Metric::l2 ? x < y : x > y) : a < b;
                      });
    std::vector<Neighbor>& near = all.each.emplace_back();
    for (std::ptrdiff_t i = 0; i < k; ++i)
      near.push_back({order[static_cast<std::size_t>(i)],
                      scores[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]});
  }
  return all;
}

}  // namespace weft
