// The registry: who holds and who answers for what, whatever divides.
#include "model/parameters.h"

#include <gtest/gtest.h>

#include <map>

namespace weft {
namespace {

ModelConfig config_of(std::int64_t heads, std::int64_t kv_heads, QkNorm norm) {
  ModelConfig c;
  c.layers = 2, c.width = 10, c.heads = heads, c.kv_heads = kv_heads, c.head_dim = 3, c.ffn = 7,
  c.vocab = 11, c.context = 5;
  c.gated = true;
  c.norm = NormKind::rms;
  c.norm_place = norm == QkNorm::whole ? NormPlace::output : NormPlace::pre;
  c.qk_norm = norm;
  return c;
}

// Every element of every parameter is owned by one rank, which holds it.
TEST(Parameters, EachElementHasOneOwner) {
  int repeated = 0;
  for (const QkNorm norm : {QkNorm::none, QkNorm::per_head, QkNorm::whole})
    for (const auto& [heads, kv_heads] : {std::pair(6, 2), std::pair(5, 5), std::pair(7, 1)}) {
      const ModelConfig c = config_of(heads, kv_heads, norm);
      for (int tp = 1; tp <= heads; ++tp)
        for (const Parameter& p : parameters_of(c)) {
          std::map<std::int64_t, int> owners;
          for (int rank = 0; rank < tp; ++rank) {
            const Slice slice = slice_of(p, c, tp, rank);
            const std::vector<Range> owned = owned_ranges(p, c, tp, rank);
            const std::vector<Range> held =
                slice.whole() ? std::vector<Range>{{0, p.shape[0]}} : slice.ranges;
            for (const Range& range : owned)
              for (std::int64_t i = range.begin; i < range.end; ++i) {
                ++owners[i];
                EXPECT_TRUE(std::any_of(held.begin(), held.end(),
                                        [&](const Range& r) { return r.begin <= i && i < r.end; }))
                    << p.name << ", rank " << rank << " of " << tp << " owns " << i;
              }
            repeated += static_cast<int>(repeated_kv_heads(c, tp, rank));
          }
          const std::int64_t along = p.shape[std::max(slice_of(p, c, tp, 0).dim, 0)];
          EXPECT_EQ(static_cast<std::int64_t>(owners.size()), along) << p.name << ", tp " << tp;
          for (const auto& [i, n] : owners) EXPECT_EQ(n, 1) << p.name << " " << i << ", tp " << tp;
        }
    }
  EXPECT_GT(repeated, 0);
}

TEST(Parameters, NormsOfQueriesAndKeys) {
  const auto shapes = [](QkNorm norm) {
    std::map<std::string, Parameter> of;
    for (const Parameter& p : parameters_of(config_of(6, 2, norm))) of.emplace(p.name, p);
    return of;
  };
  const auto none = shapes(QkNorm::none), per_head = shapes(QkNorm::per_head),
             whole = shapes(QkNorm::whole);
  EXPECT_FALSE(none.contains("layers.1.attn.q_norm.weight"));
  EXPECT_EQ(per_head.at("layers.1.attn.q_norm.weight").shape, (Dims{3}));
  EXPECT_EQ(per_head.at("layers.1.attn.k_norm.weight").shape, (Dims{3}));
  EXPECT_EQ(per_head.at("layers.1.attn.k_norm.weight").axis, ShardAxis::each_head);
  EXPECT_EQ(whole.at("layers.1.attn.q_norm.weight").shape, (Dims{18}));
  EXPECT_EQ(whole.at("layers.1.attn.k_norm.weight").shape, (Dims{6}));
  EXPECT_FALSE(whole.at("layers.1.attn.k_norm.weight").decay);
  EXPECT_EQ(whole.at("layers.1.attn.k_norm.weight").init, Init::ones);
  // Norms behind the branches alone.
  EXPECT_FALSE(whole.contains("layers.0.attn_norm.weight"));
  EXPECT_FALSE(whole.contains("layers.0.mlp_norm.weight"));
  EXPECT_TRUE(whole.contains("layers.0.attn_post_norm.weight"));
  EXPECT_TRUE(whole.contains("layers.0.mlp_post_norm.weight"));
  EXPECT_TRUE(per_head.contains("layers.0.attn_norm.weight"));
  EXPECT_FALSE(per_head.contains("layers.0.attn_post_norm.weight"));
}

}  // namespace
}  // namespace weft
