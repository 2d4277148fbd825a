// Which tokens lie near each other in the embedding matrix.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/fields.h"
#include "model/context.h"
#include "model/parameters.h"

namespace weft {

enum class Metric : std::uint8_t { cosine, dot, l2 };
constexpr Word<Metric> kMetrics[] = {
    {"cosine", Metric::cosine}, {"dot", Metric::dot}, {"l2", Metric::l2}};

struct Neighbor {
  std::int32_t id = 0;
  double score = 0;  // cosine, dot product, or distance
};

struct NearTokens {
  std::vector<std::vector<Neighbor>> each;  // of the tokens, as far as it came
  std::optional<Failure> ended;             // what ended it before all were done
};

// The top_k nearest of each token but itself, nearest first (of equals the smaller id). All
// replicas do the same: collective over the world, the result is on every rank. ctx.limit may end
// it.
NearTokens nearest_tokens(const Context& ctx, const ModelConfig& config,
                          const Parameters& parameters, const std::vector<std::int32_t>& tokens,
                          Metric metric, std::int64_t top_k);

// Rows of the embedding matrix, (n, C) fp32. Collective over a replica; on every rank.
std::vector<float> token_vectors(const Context& ctx, const ModelConfig& config,
                                 const Parameters& parameters,
                                 const std::vector<std::int32_t>& tokens);

}  // namespace weft
