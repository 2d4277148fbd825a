#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <random>

#include "core/graph.h"
#include "kernels/cached_plan.h"
#include "tests/kernels/attention_reference.h"
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

struct CacheLayout {
  std::int64_t page_size, pages_a_slot;
  bool table = true;            // else slot s is page s
  std::int64_t spare_rows = 0;  // of each call, that are no sequence's
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
                          std::optional<DType> kv = {}) {
    const AttentionArgs args = arguments(c);
    const auto n_sequences = static_cast<std::int64_t>(plan.size());
    const std::int64_t slots = n_sequences + 1, M = layout.pages_a_slot,
                       n_pages = slots * M + (layout.table ? 2 : 0);
    std::vector<std::int32_t> pages(
        static_cast<std::size_t>(n_pages));  // out of order, two of them nobody's
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), std::mt19937(7));
    const Resident on_device = put(layout.table ? pages : std::vector<std::int32_t>{0});
    const ConstView table = layout.table ? part(on_device, 0, {slots, M}) : ConstView();
    const DType held = kv.value_or(act());
    const Dims cache_shape = {n_pages, layout.page_size, c.Hkv, kv_row_elems(held, c.D)};
    const Resident k = blank(held, cache_shape),
                   v = blank(held, cache_shape);  // NaNs: what is not yet written must not be read

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
      const std::int64_t n_values = N * c.H * c.D;
      N += layout.spare_rows;
      rows.shape = {N, c.rows(), c.D};
      rows.data.resize(static_cast<std::size_t>(rows.shape.elems()), NAN);
      const Resident x = put_act(rows), out = blank_act({N, c.H, c.D});
      auto [slice_plan, ints] = plan_cached(slices, cached_shape(x, k, table), args);
      const Resident slice_table = put(ints);
      slice_plan.table = slice_table;
      attention_cached(out, k, v, x, table, slice_plan, args, stream());
      const Tensor result = get(out);
      EXPECT_TRUE(std::all_of(result.data.begin() + n_values, result.data.end(),
                              [](float e) { return std::isnan(e); }));
      for (const CacheSlice& slice : slices) {
        const auto s = static_cast<std::size_t>(n_sequences - slice.slot);
        const auto* from = result.data.data() + slice.first_row * c.H * c.D;
        std::copy(from, from + slice.n_rows * c.H * c.D,
                  results[s].data.begin() + slice.n_cached * c.H * c.D);
        done[s] += slice.n_rows;
      }
    }
    std::int64_t n_cached = 0;
    for (const std::int64_t n : done) n_cached += n;
    for (const Resident& cache : {k, v}) {
      if (held == DType::i8) break;  // their scales are
      const Tensor values = get(cache);
      EXPECT_EQ(std::count_if(values.data.begin(), values.data.end(),
                              [](float e) { return !std::isnan(e); }),
                n_cached * c.Hkv * c.D);
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
    const std::vector<Tensor> actual = run(c, layout, plan, qkv);
    for (std::size_t s = 0; s < plan.size(); ++s) {
      const std::string name =
          fmt::format("sequence {} of chunks {}, pages of {}, table {}: {}", s,
                      fmt::join(plan[s], " "), layout.page_size, layout.table, c.name());
      expect_rounded(actual[s].data, expected[s].out, 4e-6 + expected[s].score_error(), bf16(),
                     name);  // as attention's
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

TEST_P(AttentionCached, GivesARowTheSameBitsHoweverItsTokensCome) {
  const std::vector<Chunks> at_once = {{140}, {70}}, in_pieces = {{65, 1, 1, 60, 13}, {1, 64, 5}};
  std::vector<Chunks> one_by_one = {Chunks(140, 1), Chunks(70, 1)};
  for (const AttentionCase& c : std::vector<AttentionCase>{
           {1, 0, 4, 2, 24}, {1, 0, 2, 1, 64, true, 30}, {1, 0, 2, 1, 16, true, -1, -1, 20}})
    for (const CacheLayout& layout : {CacheLayout{64, 3}, CacheLayout{140, 1, false}}) {
      const std::vector<Tensor> qkv = inputs(c, at_once), expected = run(c, layout, at_once, qkv);
      const std::vector<Tensor> pieces = run(c, layout, in_pieces, qkv),
                                singles = run(c, layout, one_by_one, qkv);
      for (std::size_t s = 0; s < at_once.size(); ++s) {
        EXPECT_EQ(pieces[s].data, expected[s].data) << "sequence " << s << " " << c.name();
        EXPECT_EQ(singles[s].data, expected[s].data) << "sequence " << s << " " << c.name();
      }
    }
}

// D keys or values of a head as a narrow cache gives them back.
void narrow(float* x, std::int64_t D, DType kv) {
  float most = 0;
  for (std::int64_t c = 0; c < D; ++c) most = std::max(most, std::abs(x[c]));
  for (std::int64_t c = 0; c < D; ++c)
    x[c] = kv == DType::bf16 ? to_float(to_bfloat16(x[c]))
                             : most / 127 * std::nearbyint(x[c] * (127 / most));
}

// A narrow cache is that of its rounded keys and values, to the bit; and the first token, which
// sees its own value alone, shows how far they are rounded: bf16 has 8 bits, an int8 is half a
// step of max/127 away.
TEST_P(AttentionCached, HoldsKeysAndValuesInFewerBits) {
  if (on_gpu()) GTEST_SKIP() << "a GPU's cache is of its activations' dtype";
  const std::vector<Chunks> plan = {{70, 1, 1, 30, 1}, {1, 64, 5, 1, 1}};
  for (const AttentionCase& c : std::vector<AttentionCase>{
           {1, 0, 4, 2, 64}, {1, 0, 3, 1, 24, true, 30}, {1, 0, 2, 2, 7, true, -1, -1, 20}})
    for (const CacheLayout& layout : {CacheLayout{64, 3}, CacheLayout{150, 1, false}})
      for (const DType kv : {DType::bf16, DType::i8}) {
        const std::vector<Tensor> qkv = inputs(c, plan);
        std::vector<Tensor> held = qkv;
        for (Tensor& x : held)
          for (std::int64_t row = 0; row < x.shape[0] * c.rows(); ++row)
            if (row % c.rows() >= c.H) narrow(x.data.data() + row * c.D, c.D, kv);
        const std::vector<Tensor> actual = run(c, layout, plan, qkv, kv),
                                  expected = run(c, layout, plan, held);
        for (std::size_t s = 0; s < plan.size(); ++s) {
          EXPECT_EQ(actual[s].data, expected[s].data) << dtype_name(kv) << " " << c.name();
          for (std::int64_t h = 0; h < c.H; ++h) {
            const float* value = qkv[s].data.data() + (c.H + c.Hkv + h / (c.H / c.Hkv)) * c.D;
            float most = 0;
            for (std::int64_t i = 0; i < c.D; ++i) most = std::max(most, std::abs(value[i]));
            for (std::int64_t i = 0; i < c.D; ++i)
              EXPECT_LE(std::abs(actual[s][h * c.D + i] - value[i]),
                        kv == DType::bf16 ? 0x1p-8f * std::abs(value[i]) : most / 254 * 1.0001f)
                  << dtype_name(kv) << " " << c.name();
          }
        }
      }
}

// What is not finite stays so, whatever holds it.
TEST_P(AttentionCached, HidesNothingInfinite) {
  if (on_gpu()) GTEST_SKIP() << "a GPU's cache is of its activations' dtype";
  const AttentionCase c = {1, 0, 1, 1, 8};
  Tensor x = random({2, 3, 8}, 1);
  x[2 * 8 + 3] = INFINITY;  // a value of the first token
  for (const DType kv : {DType::f32, DType::bf16, DType::i8})
    for (const Chunks& chunks : {Chunks{2}, Chunks{1, 1}}) {
      const Tensor out = run(c, {64, 1}, {chunks}, {x}, kv)[0];
      for (std::int64_t t = 0; t < 2; ++t)
        EXPECT_FALSE(std::isfinite(out[t * 8 + 3])) << dtype_name(kv) << ", token " << t;
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
    const std::vector<Tensor> qkv = inputs(c, plan), together = run(c, {64, 6}, plan, qkv);
    const std::vector<Tensor> alone = run(c, {128, 3}, {plan[1]}, {qkv[1]}),
                              at_once = run(c, {64, 6}, {{total(plan[1])}}, {qkv[1]});
    EXPECT_EQ(together[1].data, alone[0].data) << c.name();
    EXPECT_EQ(together[1].data, at_once[0].data) << c.name();
  }
}

// Spare rows are neither read nor written; of single tokens more blocks are launched than they
// need.
TEST_P(AttentionCached, LeavesRowsOfNoSequenceAlone) {
  const std::vector<Chunks> plan = {{255, 1, 1}, {5, 1, 1}, {70, 1, 1}};
  expect_whole_sequence({1, 0, 4, 2, 16}, {64, 5, true, 5}, plan);
  expect_whole_sequence({1, 0, 2, 1, 16}, {320, 1, false, 1}, plan);
}

// Texts that go on token by token past the end of a chunk and of a page, by one graph.
TEST_P(AttentionCached, IsLaunchedAgainWithAnotherTable) {
  if (!Graph::available(GetParam().device)) GTEST_SKIP() << "a CPU has no graphs";
  const AttentionCase c = {1, 0, 2, 1, 16};
  const std::vector<std::int64_t> prompts = {508, 300, 3};
  constexpr std::int64_t kNew = 6, kPages = 9, kRows = 4;  // one row to spare
  std::vector<Chunks> plan;
  for (const std::int64_t n : prompts) plan.push_back(prompt_then_singles(n, kNew));
  const auto n_texts = static_cast<std::int64_t>(plan.size());
  const std::vector<Tensor> qkv = inputs(c, plan), expected = run(c, {64, kPages}, plan, qkv);
  const AttentionArgs args = arguments(c);
  std::vector<std::int32_t> pages(static_cast<std::size_t>(n_texts * kPages));
  std::iota(pages.rbegin(), pages.rend(), 0);
  const Resident flat = put(pages), table = part(flat, 0, {n_texts, kPages}),
                 k = blank_act({n_texts * kPages, 64, c.Hkv, c.D}),
                 v = blank_act({n_texts * kPages, 64, c.Hkv, c.D}),
                 x = blank_act({kRows, c.rows(), c.D}), out = blank_act({kRows, c.H, c.D});
  for (std::int64_t t = 0; t < n_texts; ++t) {  // the prompts
    const auto n = static_cast<std::size_t>(prompts[static_cast<std::size_t>(t)]);
    Tensor rows = qkv[static_cast<std::size_t>(t)];
    rows.shape[0] = prompts[static_cast<std::size_t>(t)];
    rows.data.resize(n * static_cast<std::size_t>(c.rows() * c.D));
    const Resident prompt = put_act(rows), unused = blank_act({rows.shape[0], c.H, c.D});
    const CacheSlice slice = {0, rows.shape[0], 0, t};
    auto [whole, ints] = plan_cached({&slice, 1}, cached_shape(prompt, k, table), args);
    const Resident ints_there = put(ints);
    whole.table = ints_there;
    attention_cached(unused, k, v, prompt, table, whole, args, stream());
    stream().synchronize();
  }
  Resident slice_table;
  Graph graph;
  CachedPlan captured;
  for (std::int64_t i = 0; i < kNew; ++i) {
    std::vector<CacheSlice> slices;
    Tensor rows = filled({kRows, c.rows(), c.D}, NAN);
    for (std::int64_t t = 0; t < n_texts; ++t) {
      const std::int64_t at = prompts[static_cast<std::size_t>(t)] + i;
      slices.push_back({t, 1, at, t});
      const auto* from = qkv[static_cast<std::size_t>(t)].data.data() + at * c.rows() * c.D;
      std::copy_n(from, c.rows() * c.D, rows.data.begin() + t * c.rows() * c.D);
    }
    const Resident now = put_act(rows);
    copy_bytes(x.view.data(), now.view.data(), x.view.bytes(), stream());
    auto [step, ints] = plan_cached(slices, cached_shape(x, k, table), args);
    if (i == 0) slice_table = put(ints);
    copy_bytes(slice_table.view.data(), ints.data(), slice_table.view.bytes(), stream());
    step.table = slice_table;
    if (i == 0) {
      stream().scratch(attention_cached_scratch_bytes(
          {.rows = kRows, .texts = n_texts, .keys = 64 * kPages}, args, {GetParam().device}));
      captured = step;
      graph.capture(stream(), [&, &step = step] {
        attention_cached(out, k, v, x, table, step, args, stream());
      });
    }
    EXPECT_EQ(step.split.blocks, captured.split.blocks);
    EXPECT_EQ(step.split.joins, captured.split.joins);
    graph.launch(stream());
    const Tensor result = get(out);
    for (std::int64_t t = 0; t < n_texts; ++t)
      for (std::int64_t e = 0; e < c.H * c.D; ++e)
        ASSERT_EQ(result[t * c.H * c.D + e],
                  expected[static_cast<std::size_t>(t)]
                          [(slices[static_cast<std::size_t>(t)].n_cached) * c.H * c.D + e])
            << "text " << t << ", token " << i;
  }
}

WEFT_ON_EACH_TARGET(AttentionCached);

TEST(CachedPlan, CountsThatGrowMeetFewPaddedOnes) {
  std::int64_t n_padded = 0, last = 0;
  for (std::int64_t n = 1; n <= 4096; ++n) {
    const std::int64_t padded = padded_count(n);
    EXPECT_GE(padded, n);
    EXPECT_GE(padded, last);
    EXPECT_LT(padded, std::max<std::int64_t>(2 * n, 2));
    EXPECT_EQ(padded_count(padded), padded);
    if (n >= 32) {
      EXPECT_LE(padded - n, n / 4);
    }
    n_padded += padded != last;
    last = padded;
  }
  EXPECT_LE(n_padded, 40);
  EXPECT_EQ(padded_count(0), 0);
}

TEST(CachedPlan, RefusesSlicesThatLeaveTheirPlace) {
  AttentionArgs args;
  args.n_heads = args.n_kv_heads = 1;
  args.head_dim = 16;
  const CachedShape shape = {.N = 4, .S = 64, .slots = 2, .M = 2};
  const auto plan = [&](std::vector<CacheSlice> slices) {
    return plan_cached(slices, shape, args).first;
  };
  EXPECT_EQ(plan({{0, 2, 126, 1}, {2, 2, 0, 0}}).split.blocks, 2);
  for (const CacheSlice& s : std::vector<CacheSlice>{
           {-1, 1, 0, 0}, {3, 2, 0, 0}, {0, 0, 0, 0}, {0, 1, 128, 0}, {0, 1, -1, 0}, {0, 1, 0, 2}})
    EXPECT_THROW(plan({s}), Error) << s.first_row << " " << s.n_rows << " " << s.n_cached;
  EXPECT_THROW(plan({{0, 1, 0, 0}, {1, 1, 0, 1}, {2, 1, 0, 0}}), Error);  // more than slots
}

}  // namespace
}  // namespace weft::test
