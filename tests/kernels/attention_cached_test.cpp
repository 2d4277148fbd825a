#include <numeric>
#include <random>

#include "tests/kernels/attention_reference.h"
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

struct CacheLayout {
  std::int64_t page_size, pages_a_slot;
  bool table = true;  // else slot s is page s
};

using Chunks = std::vector<std::int64_t>;  // tokens a sequence brings at each call, in order: 0 at
                                           // the calls before it starts

Chunks prompt_then_singles(std::int64_t prompt, std::size_t singles) {
  Chunks chunks(singles + 1, 1);
  chunks[0] = prompt;
  return chunks;
}

std::int64_t total(const Chunks& chunks) {
  std::int64_t n = 0;
  for (std::int64_t c : chunks) n += c;
  return n;
}

class AttentionCached : public OnEachTarget {
 protected:
  // Feeds the sequences through one cache, all of a call's slices at once; gives each sequence's
  // (T, H, D).
  std::vector<Tensor> run(const AttentionCase& c, const CacheLayout& layout,
                          const std::vector<Chunks>& plan, const std::vector<Tensor>& qkv,
                          bool fixed_order) {
    AttentionArgs args = arguments(c);
    args.fixed_order = fixed_order;
    const auto n_sequences = static_cast<std::int64_t>(plan.size());
    const std::int64_t slots = n_sequences + 1, M = layout.pages_a_slot,
                       n_pages = slots * M + (layout.table ? 2 : 0);
    std::vector<std::int32_t> pages(
        static_cast<std::size_t>(n_pages));  // out of order, two of them nobody's
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(7));
    const Resident on_device = put(layout.table ? pages : std::vector<std::int32_t>{0});
    const ConstView table = layout.table ? part(on_device, 0, {slots, M}) : ConstView();
    const Dims cache_shape = {n_pages, layout.page_size, c.Hkv, c.D};
    const Resident k = blank_act(cache_shape),
                   v = blank_act(cache_shape);  // NaNs: what is not yet written must not be read

    std::vector<Tensor> results;
    for (const Chunks& chunks : plan) results.push_back(filled({total(chunks), c.H, c.D}, NAN));
    std::vector<std::int64_t> done(plan.size(), 0);
    std::size_t n_calls = 0;
    for (const Chunks& chunks : plan) n_calls = std::max(n_calls, chunks.size());
    for (std::size_t call = 0; call < n_calls; ++call) {
      std::vector<CacheSlice> slices;
      Tensor rows;
      std::int64_t N = 0;
      for (std::size_t s = 0; s < plan.size(); ++s) {
        const std::int64_t n = call < plan[s].size() ? plan[s][call] : 0;
        if (n == 0) continue;
        slices.push_back(
            {N, n, done[s],
             n_sequences - static_cast<std::int64_t>(s)});  // the last slots first, slot 0 unused
        const float* from = qkv[s].data.data() + done[s] * c.rows() * c.D;
        rows.data.insert(rows.data.end(), from, from + n * c.rows() * c.D);
        N += n;
      }
      if (slices.empty()) continue;
      rows.shape = {N, c.rows(), c.D};
      const Resident x = put_act(rows), out = blank_act({N, c.H, c.D});
      attention_cached(out, k, v, x, table, slices, args, stream());
      const Tensor result = get(out);
      for (const CacheSlice& slice : slices) {
        const auto s = static_cast<std::size_t>(n_sequences - slice.slot);
        const auto* from = result.data.data() + slice.first_row * c.H * c.D;
        std::copy(from, from + slice.n_rows * c.H * c.D,
                  results[s].data.begin() + slice.n_cached * c.H * c.D);
        done[s] += slice.n_rows;
      }
    }
    return results;
  }

  std::vector<Tensor> inputs(const AttentionCase& c, const std::vector<Chunks>& plan) const {
    std::vector<Tensor> qkv;
    for (const Chunks& chunks : plan)
      qkv.push_back(rounded(random({total(chunks), c.rows(), c.D},
                                   static_cast<std::uint32_t>(qkv.size() + 1), c.std)));
    return qkv;
  }

  void expect_whole_sequence(AttentionCase c, const CacheLayout& layout,
                             const std::vector<Chunks>& plan) {
    const std::vector<Tensor> qkv = inputs(c, plan);
    std::vector<AttentionReference> expected;
    for (const Tensor& x : qkv) {
      c.T = x.shape[0];
      expected.push_back(attention_reference(c, x));
    }
    for (bool fixed_order : {false, true}) {
      const std::vector<Tensor> actual = run(c, layout, plan, qkv, fixed_order);
      for (std::size_t s = 0; s < plan.size(); ++s) {
        const std::string name = fmt::format(
            "sequence {} of chunks {}, pages of {}, table {}, fixed order {}: {}", s,
            fmt::join(plan[s], " "), layout.page_size, layout.table, fixed_order, c.name());
        expect_rounded(actual[s].data, expected[s].out, 4e-6 + expected[s].score_error(), bf16(),
                       name);  // as attention's
      }
    }
  }
};

TEST_P(AttentionCached, ContinuesPromptsOfAnyLength) {
  for (std::int64_t prompt : {1, 2, 5, 63, 64, 65, 130})
    expect_whole_sequence({1, 0, 4, 2, 24}, {64, 3}, {prompt_then_singles(prompt, 4)});
}

TEST_P(AttentionCached, ServesSeveralSequencesInOneCall) {
  // Prompts beside single tokens, one that comes in pieces, one that starts later, one that ends
  // first.
  const std::vector<Chunks> plan = {{70, 1, 1, 1, 1}, {0, 5, 1, 1, 1}, {60, 30, 1, 40, 1}, {3, 1}};
  for (const CacheLayout& layout :
       {CacheLayout{64, 3}, CacheLayout{128, 2}, CacheLayout{192, 1}, CacheLayout{150, 1, false}})
    expect_whole_sequence({1, 0, 4, 2, 16}, layout, plan);
}

TEST_P(AttentionCached, OfEveryHeadDimAndGroup) {
  const std::vector<Chunks> plan = {{66, 1, 1}, {7, 1, 1}};
  for (const AttentionCase& c : std::vector<AttentionCase>{{1, 0, 8, 1, 40},
                                                           {1, 0, 2, 2, 64},
                                                           {1, 0, 6, 2, 72},
                                                           {1, 0, 8, 2, 80},
                                                           {1, 0, 3, 1, 96},
                                                           {1, 0, 8, 1, 128},
                                                           {1, 0, 1, 1, 160},
                                                           {1, 0, 4, 1, 256}})
    expect_whole_sequence(c, {64, 2}, plan);
}

TEST_P(AttentionCached, OfHeadDimsThatOnlyACpuTakes) {
  if (on_gpu()) GTEST_SKIP() << "head dims on a GPU are multiples of 8 from 16 to 256";
  const std::vector<Chunks> plan = {{66, 1, 1}, {1, 1, 1}};
  for (std::int64_t D : {1, 7, 8, 20}) {
    expect_whole_sequence({1, 0, 4, 2, D}, {64, 2}, plan);
    expect_whole_sequence({1, 0, 4, 2, D, true, 3, -1, 20}, {70, 1, false}, plan);
  }
}

TEST_P(AttentionCached, SeesAWindowOfPositions) {
  const std::vector<Chunks> plan = {{130, 1, 1}, {64, 20, 1}, {1, 1, 1}};
  for (int left : {0, 1, 20, 63, 64, 100})
    expect_whole_sequence({1, 0, 4, 2, 16, true, left}, {64, 3}, plan);
  expect_whole_sequence({1, 0, 8, 1, 64, true, 33}, {128, 2}, plan);
  expect_whole_sequence({1, 0, 2, 1, 24, true, 33}, {132, 1, false}, plan);
}

TEST_P(AttentionCached, CapsScores) {
  const std::vector<Chunks> plan = {{67, 1, 1}, {5, 60, 1}};
  for (float cap : {20.0f, 50.0f}) {
    expect_whole_sequence({.B = 1, .T = 0, .H = 4, .Hkv = 2, .D = 16, .softcap = cap, .std = 3},
                          {64, 2}, plan);
    expect_whole_sequence({.B = 1,
                           .T = 0,
                           .H = 4,
                           .Hkv = 1,
                           .D = 40,
                           .left = 21,
                           .softcap = cap,
                           .scale = 0.3f,
                           .std = 2},
                          {128, 1}, plan);
  }
}

TEST_P(AttentionCached, SurvivesScoresFarApart) {
  expect_whole_sequence({.B = 1, .T = 0, .H = 2, .Hkv = 1, .D = 16, .std = 30}, {64, 2},
                        {{67, 1, 1}});
}

TEST_P(AttentionCached, InFixedOrderGivesARowTheSameBitsHoweverItsTokensCome) {
  const std::vector<Chunks> at_once = {{140}, {70}}, in_pieces = {{65, 1, 1, 60, 13}, {1, 64, 5}};
  std::vector<Chunks> one_by_one = {Chunks(140, 1), Chunks(70, 1)};
  for (const AttentionCase& c : std::vector<AttentionCase>{
           {1, 0, 4, 2, 24}, {1, 0, 2, 1, 64, true, 30}, {1, 0, 2, 1, 16, true, -1, -1, 20}})
    for (const CacheLayout& layout : {CacheLayout{64, 3}, CacheLayout{140, 1, false}}) {
      const std::vector<Tensor> qkv = inputs(c, at_once),
                                expected = run(c, layout, at_once, qkv, true);
      const std::vector<Tensor> pieces = run(c, layout, in_pieces, qkv, true),
                                singles = run(c, layout, one_by_one, qkv, true);
      for (std::size_t s = 0; s < at_once.size(); ++s) {
        EXPECT_EQ(pieces[s].data, expected[s].data) << "sequence " << s << " " << c.name();
        EXPECT_EQ(singles[s].data, expected[s].data) << "sequence " << s << " " << c.name();
      }
    }
}

// Longer than the chunks into which a GPU cuts keys: prompts and single tokens, joined within a
// kernel or by another, across windows' ends and chunks' ends; a row's bits as alone in its batch
// and however its tokens come.
TEST_P(AttentionCached, JoinsChunksOfKeys) {
  const std::vector<Chunks> plan = {{254, 1, 1, 1}, {300, 1, 60, 1}};
  std::vector<AttentionCase> cases = {{1, 0, 2, 1, 16}, {1, 0, 2, 1, 16, true, 270}};
  if (on_gpu()) cases.push_back({1, 0, 1, 1, 136});
  for (const AttentionCase& c : cases) {
    expect_whole_sequence(c, {64, 6}, plan);
    const std::vector<Tensor> qkv = inputs(c, plan), together = run(c, {64, 6}, plan, qkv, true);
    const std::vector<Tensor> alone = run(c, {128, 3}, {plan[1]}, {qkv[1]}, true),
                              at_once = run(c, {64, 6}, {{total(plan[1])}}, {qkv[1]}, true);
    EXPECT_EQ(together[1].data, alone[0].data) << c.name();
    EXPECT_EQ(together[1].data, at_once[0].data) << c.name();
  }
}

WEFT_ON_EACH_TARGET(AttentionCached);

}  // namespace
}  // namespace weft::test
