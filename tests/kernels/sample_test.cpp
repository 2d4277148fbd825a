// sample against the inverse distribution function of the kept tokens, in double.
#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/kernels/target.h"

namespace weft::test {
namespace {

// Calls say weft::sample: a std::vector among the arguments brings std::sample in.
class Sample : public OnEachTarget {};

struct Distribution {
  std::vector<std::size_t> ids;       // kept, ascending
  std::vector<double> probabilities;  // of them
  double margin =
      1;  // how far the nearest token is from being kept where it went, or the other way
};

void normalise(std::vector<double>& p) {
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& e : p) e /= sum;
}

// The words of ops.h over whole vocabularies: each warper marks what goes (probability 0), then all
// is normalised.
Distribution distribution(const std::vector<float>& logits, const SampleRow& row) {
  const std::size_t V = logits.size();
  const double max = *std::max_element(logits.begin(), logits.end());
  Distribution d;
  std::vector<double> p;
  for (float x : logits) p.push_back(std::exp((x - max) / row.temperature));
  const auto keep = static_cast<std::size_t>(row.keep);
  if (row.top_k > 0 && std::max(row.top_k, row.keep) < static_cast<std::int64_t>(V)) {
    std::vector<float> sorted = logits;
    std::sort(sorted.rbegin(), sorted.rend());
    for (std::size_t v = 0; v < V; ++v)
      if (logits[v] < sorted[static_cast<std::size_t>(std::max(row.top_k, row.keep) - 1)]) p[v] = 0;
  }
  normalise(p);
  std::vector<std::size_t> order(V);  // the least likely first
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  if (row.top_p < 1) {
    double gone = 0;
    for (std::size_t i = 0; i + keep < V; ++i) {
      gone += p[order[i]];
      if (p[order[i]] > 0) d.margin = std::min(d.margin, std::abs(gone - (1 - row.top_p)));
      if (gone > 1 - row.top_p) break;
      p[order[i]] = 0;
    }
    normalise(p);
  }
  if (row.min_p > 0) {
    const double likeliest = *std::max_element(p.begin(), p.end());
    for (std::size_t i = 0; i + keep < V; ++i) {
      double& e = p[order[i]];
      if (e < likeliest) d.margin = std::min(d.margin, std::abs(e / likeliest - row.min_p));
      if (e < row.min_p * likeliest) e = 0;
    }
    normalise(p);
  }
  for (std::size_t v = 0; v < V; ++v)
    if (p[v] > 0) d.ids.push_back(v), d.probabilities.push_back(p[v]);
  return d;
}

double log_softmax(const std::vector<float>& logits, std::size_t id) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float x : logits) sum += std::exp(x - max);
  return logits[id] - max - std::log(sum);
}

// Where the draw falls among the kept; -1 within 1e-5 of a boundary, where fp32 exponentials may
// fall on either side.
std::int64_t drawn(const Distribution& d, double uniform) {
  double sum = 0;
  for (std::size_t i = 0; i < d.ids.size(); ++i) {
    sum += d.probabilities[i];
    if (i + 1 < d.ids.size() && std::abs(sum - uniform) < 1e-5) return -1;
    if (uniform < sum || i + 1 == d.ids.size()) return static_cast<std::int64_t>(d.ids[i]);
  }
  return -1;
}

std::vector<SampleRow> settings(std::int64_t V) {
  std::vector<SampleRow> s(13);
  s[0] = {.greedy = true, .temperature = 0.5, .top_k = 3, .uniform = 0.9};
  s[1] = {.greedy = false};
  s[2] = {.greedy = false, .temperature = 0.7, .top_k = 50};
  s[3] = {.greedy = false, .top_k = 1};
  s[4] = {.greedy = false, .temperature = 2, .top_k = V};
  s[5] = {.greedy = false, .top_k = V + 5, .top_p = 0.7};
  s[6] = {.greedy = false, .top_p = 0.9};
  s[7] = {.greedy = false, .top_p = 1e-9};
  s[8] = {.greedy = false, .min_p = 0.1};
  s[9] = {.greedy = false, .temperature = 1.3, .top_k = 40, .top_p = 0.8, .min_p = 0.05};
  s[10] = {.greedy = false, .min_p = 1};
  s[11] = {.greedy = false, .temperature = 1.5, .top_k = 5};
  s[12] = {.greedy = false, .temperature = 0.05, .top_p = 0.99, .min_p = 0.001};
  return s;
}

// Away from where rounding decides what is kept; the tests of ties have exact ones.
Distribution clear_distribution(const std::vector<float>& logits, SampleRow& row) {
  Distribution d = distribution(logits, row);
  while (d.margin < 1e-6) {
    if (row.top_p < 1) row.top_p += 3e-6;
    if (row.min_p > 0 && row.min_p < 1) row.min_p += 3e-6;
    d = distribution(logits, row);
  }
  return d;
}

// Rows differ in logits, settings and draw; a low-discrepancy walk sweeps the draws of each
// setting.
TEST_P(Sample, FollowsTheInverseDistributionOfTheKept) {
  for (auto [V, N] : std::vector<std::array<std::int64_t, 2>>{
           {1, 13}, {2, 130}, {7, 650}, {129, 260}, {768, 39}, {1003, 39}, {5003, 13}}) {
    Tensor logits = random({N, V}, static_cast<std::uint32_t>(V), 2.0f);
    for (std::int64_t i = 0; i < N * V; i += 11)
      if (i % V != 0)
        logits[i] = i % 2 == 0 ? -INFINITY : 1.5f;  // forbidden tokens, and many equal ones
    logits = rounded(logits);
    const std::vector<SampleRow> kinds = settings(V);
    std::vector<SampleRow> rows;
    std::vector<Distribution> expected;
    std::vector<std::vector<float>> row_logits;
    for (std::int64_t n = 0; n < N; ++n) {
      SampleRow row = kinds[static_cast<std::size_t>(n) % kinds.size()];
      if (!row.greedy)
        row.uniform =
            std::fmod(0.31 + 0.6180339887498949 *
                                 static_cast<double>(n / static_cast<std::int64_t>(kinds.size())),
                      1.0);
      row_logits.emplace_back(logits.data.begin() + n * V, logits.data.begin() + (n + 1) * V);
      expected.push_back(clear_distribution(row_logits.back(), row));
      rows.push_back(row);
    }
    const Resident in = put_act(logits), ids = blank(DType::i32, {N}), logprobs = blank({N});
    weft::sample(ids, logprobs, in, rows, stream());
    const Tensor got = get(ids);
    std::vector<double> logprob_ref;
    std::int64_t checked = 0;
    for (std::int64_t n = 0; n < N; ++n) {
      const auto k = static_cast<std::size_t>(n);
      const auto id = static_cast<std::size_t>(got[n]);
      ASSERT_LT(id, static_cast<std::size_t>(V)) << n;
      logprob_ref.push_back(log_softmax(row_logits[k], id));
      const auto& x = row_logits[k];
      const std::int64_t wanted = rows[k].greedy ? std::max_element(x.begin(), x.end()) - x.begin()
                                                 : drawn(expected[k], rows[k].uniform);
      if (wanted < 0) {
        EXPECT_TRUE(std::binary_search(expected[k].ids.begin(), expected[k].ids.end(), id))
            << "V " << V << " row " << n;
        continue;
      }
      ++checked;
      EXPECT_EQ(static_cast<std::int64_t>(id), wanted)
          << "V " << V << " row " << n << " setting " << k % kinds.size() << " draw "
          << rows[k].uniform;
    }
    EXPECT_GE(checked, N * 4 / 5);
    expect_close(get(logprobs).data, logprob_ref, 1e-6, "logprobs",
                 1.0);  // fp32, of logits that are exact
    const Resident again = blank(DType::i32, {N});
    weft::sample(again, View(), in, rows, stream());  // without log probabilities
    EXPECT_EQ(get(again).data, got.data);
  }
}

TEST_P(Sample, WarpedLogitsAreTheScoresOfTheKept) {
  for (const std::int64_t V : {1, 2, 7, 130, 1003, 5003}) {
    std::vector<SampleRow> rows;
    for (const std::int64_t keep : {1, 2, 7, 60})
      for (SampleRow row : settings(V)) {
        row.keep = keep;
        rows.push_back(row);
      }
    const auto N = static_cast<std::int64_t>(rows.size());
    Tensor logits = random({N, V}, static_cast<std::uint32_t>(V), 2.0f);
    for (std::int64_t i = 0; i < N * V; i += 11)
      if (i % V != 0) logits[i] = i % 2 == 0 ? -INFINITY : 1.5f;
    std::vector<Distribution> expected;
    for (std::int64_t n = 0; n < N; ++n)
      expected.push_back(
          clear_distribution({logits.data.begin() + n * V, logits.data.begin() + (n + 1) * V},
                             rows[static_cast<std::size_t>(n)]));
    const Resident scores = put(logits);
    weft::warp_logits(scores, rows, stream());
    const Tensor got = get(scores);
    for (std::int64_t n = 0; n < N; ++n) {
      const SampleRow& row = rows[static_cast<std::size_t>(n)];
      const std::vector<std::size_t>& ids = expected[static_cast<std::size_t>(n)].ids;
      for (std::int64_t v = 0; v < V; ++v) {
        const bool kept = std::binary_search(ids.begin(), ids.end(), static_cast<std::size_t>(v));
        const float score =
            kept ? logits[n * V + v] / static_cast<float>(row.temperature) : -INFINITY;
        ASSERT_EQ(got[n * V + v], score)
            << "V " << V << " keep " << row.keep << " setting "
            << n % static_cast<std::int64_t>(settings(V).size()) << " token " << v;
      }
    }
  }
}

// Draws of one row of logits over an even grid of [0, 1): how often each token comes.
std::vector<int> counts(const std::vector<std::int32_t>& ids, std::int64_t V) {
  std::vector<int> n(static_cast<std::size_t>(V));
  for (std::int32_t id : ids) ++n.at(static_cast<std::size_t>(id));
  return n;
}

class SampleTies : public OnEachTarget {
 protected:
  // 24 draws at (i + 1/2)/24, far from thirds, quarters, sixths and eighths of the kept.
  std::vector<int> sweep(const std::vector<float>& logits, SampleRow row) {
    const auto V = static_cast<std::int64_t>(logits.size());
    Tensor repeated = filled({24, V}, 0);
    std::vector<SampleRow> rows;
    row.greedy = false;
    for (std::int64_t n = 0; n < 24; ++n) {
      std::copy(logits.begin(), logits.end(), repeated.data.begin() + n * V);
      row.uniform = (static_cast<double>(n) + 0.5) / 24;
      rows.push_back(row);
    }
    const Resident in = put_act(repeated), ids = blank(DType::i32, {24});
    weft::sample(ids, View(), in, rows, stream());
    const Tensor got = get(ids);
    return counts({got.data.begin(), got.data.end()}, V);
  }
};

TEST_P(SampleTies, EqualToTheKthStay) {
  EXPECT_EQ(sweep({2, 1, 2, 2, 2, 0}, {.top_k = 2}), (std::vector<int>{6, 0, 6, 6, 6, 0}));
  EXPECT_EQ(sweep({2, 1, 2, 2, 2, 0}, {.top_k = 4}), (std::vector<int>{6, 0, 6, 6, 6, 0}));
  EXPECT_EQ(sweep({0, 0, 0}, {.top_k = 1}), (std::vector<int>{8, 8, 8}));
  EXPECT_EQ(sweep({-INFINITY, 3, -INFINITY, 3}, {.top_k = 3}),
            (std::vector<int>{0, 12, 0, 12}));  // the k-th is -inf: nothing to add
}

TEST_P(SampleTies, OfEqualsAtTheTopPThresholdTheFirstIdsGo) {
  const std::vector<float> equal(8, 1.25f);
  EXPECT_EQ(sweep(equal, {.top_p = 0.5}),
            (std::vector<int>{0, 0, 0, 0, 6, 6, 6, 6}));  // what goes holds exactly 1 - p
  EXPECT_EQ(sweep(equal, {.top_p = 0.7}),
            (std::vector<int>{0, 0, 4, 4, 4, 4, 4, 4}));  // 2/8 <= 0.3 < 3/8
  EXPECT_EQ(sweep(equal, {.top_p = 1e-9}),
            (std::vector<int>{0, 0, 0, 0, 0, 0, 0, 24}));  // one stays
  EXPECT_EQ(sweep({5, -INFINITY, 5, 5, -20}, {.top_p = 0.5}), (std::vector<int>{0, 0, 12, 12, 0}));
}

TEST_P(SampleTies, WarpersFollowOneAnother) {
  // top-k leaves the three fours; of their mass 1/3 is at most 0.4: the first goes.
  EXPECT_EQ(sweep({4, 3, 4, 3, 4}, {.top_k = 3, .top_p = 0.6}),
            (std::vector<int>{0, 0, 12, 0, 12}));
  EXPECT_EQ(sweep({4, 4, 3, 4, 4}, {.min_p = 1}), (std::vector<int>{6, 6, 0, 6, 6}));
  // Temperature comes first: at 0.1 a difference of 1 is a factor of e^10.
  EXPECT_EQ(sweep({4, 3, 4, 3, 4}, {.temperature = 0.1, .min_p = 0.01}),
            (std::vector<int>{8, 0, 8, 0, 8}));
  EXPECT_EQ(sweep({4, 3, 2, 1}, {.temperature = 1e-45}),
            (std::vector<int>{24, 0, 0, 0}));  // so cold that fp32 overflows
}

TEST_P(SampleTies, SoManyStayWhateverTopPAndMinPSay) {
  const std::vector<float> equal(8, 1.25f);
  EXPECT_EQ(sweep(equal, {.top_p = 0.5, .keep = 3}), (std::vector<int>{0, 0, 0, 0, 6, 6, 6, 6}));
  EXPECT_EQ(sweep(equal, {.top_p = 0.5, .keep = 6}), (std::vector<int>{0, 0, 4, 4, 4, 4, 4, 4}));
  EXPECT_EQ(sweep(equal, {.top_p = 0.5, .keep = 9}), (std::vector<int>(8, 3)));
  EXPECT_EQ(sweep(equal, {.top_k = 1, .keep = 2}), (std::vector<int>(8, 3)));
  const auto kept = [&](const std::vector<float>& logits, SampleRow row) {
    Tensor one = filled({1, static_cast<std::int64_t>(logits.size())}, 0);
    one.data = logits;
    const Resident scores = put(one);
    weft::warp_logits(scores, std::vector<SampleRow>{row}, stream());
    return get(scores).data;
  };
  constexpr float kGone = -INFINITY;
  EXPECT_EQ(kept({4, 3, 2, 1}, {.min_p = 1}), (std::vector<float>{4, kGone, kGone, kGone}));
  EXPECT_EQ(kept({4, 3, 2, 1}, {.min_p = 1, .keep = 3}), (std::vector<float>{4, 3, 2, kGone}));
  EXPECT_EQ(kept({3, 4, 3, 3}, {.min_p = 1, .keep = 3}), (std::vector<float>{kGone, 4, 3, 3}));
  EXPECT_EQ(kept({3, 4, 2, 3}, {.top_p = 0.1, .keep = 2}),
            (std::vector<float>{kGone, 4, kGone, 3}));
  EXPECT_EQ(kept({3, 4, 2, 1}, {.top_k = 1, .keep = 2}), (std::vector<float>{3, 4, kGone, kGone}));
  EXPECT_EQ(kept({kGone, 4, 2, kGone}, {.top_p = 0.1, .min_p = 1, .keep = 3}),
            (std::vector<float>{kGone, 4, 2, kGone}));
}

// Where scores over the temperature would be infinities, distances from the likeliest are divided.
TEST_P(SampleTies, ATemperatureNearZeroLeavesTheLikeliest) {
  constexpr float kMost = std::numeric_limits<float>::max();
  for (const double temperature : {1e-38, 1e-45, 1e-300}) {
    EXPECT_EQ(sweep({4, 3, 4, -INFINITY}, {.temperature = temperature}),
              (std::vector<int>{12, 0, 12, 0}));
    EXPECT_EQ(sweep({-4, -5, -4, -INFINITY}, {.temperature = temperature, .top_k = 3}),
              (std::vector<int>{12, 0, 12, 0}));
    Tensor one = filled({1, 4}, 0);
    one.data = {400, 3, 400, -INFINITY};
    const Resident scores = put(one);
    weft::warp_logits(scores, std::vector<SampleRow>{{.temperature = temperature}}, stream());
    EXPECT_EQ(get(scores).data, (std::vector<float>{0, -kMost, 0, -INFINITY}));
  }
}

TEST_P(SampleTies, GreedyTakesTheFirstOfEqualMaxima) {
  Tensor logits = filled({4, 1003}, -1);
  logits[7] = logits[500] = logits[1002] = 3;
  for (std::int64_t v = 0; v < 1003; ++v) logits[1003 + v] = -INFINITY;
  logits[1003 + 998] = logits[1003 + 999] = -5;
  logits[3 * 1003 + 1002] = 0;
  const Resident in = put_act(logits), ids = blank(DType::i32, {4}), logprobs = blank({4});
  weft::sample(ids, logprobs, in, std::vector<SampleRow>(4), stream());
  EXPECT_EQ(get(ids).data, (std::vector<float>{7, 998, 0, 1002}));
  EXPECT_NEAR(get(logprobs)[1], std::log(0.5), 1e-6);
}

TEST_P(SampleTies, DrawOfZeroTakesTheFirstKept) {
  const std::vector<SampleRow> rows = {{.greedy = false, .uniform = 0},
                                       {.greedy = false, .top_k = 2, .uniform = 0},
                                       {.greedy = false, .uniform = 0.999999}};
  const std::vector<float> row = {-INFINITY, 0, 4, 3, -INFINITY};
  Tensor logits = filled({3, 5}, 0);
  for (std::int64_t i = 0; i < 15; ++i) logits[i] = row[static_cast<std::size_t>(i % 5)];
  const Resident in = put_act(logits), ids = blank(DType::i32, {3});
  weft::sample(ids, View(), in, rows, stream());
  EXPECT_EQ(get(ids).data, (std::vector<float>{1, 2, 3}));
}

WEFT_ON_EACH_TARGET(Sample);
WEFT_ON_EACH_TARGET(SampleTies);

TEST(SampleChecks, NamesARowThatHasNoNextToken) {
  Stream stream;
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    Tensor logits = filled({2, 5}, bad == -INFINITY ? bad : 0.0f);
    std::int32_t ids[2];
    logits[0] = 1;
    logits[7] = bad;
    const std::vector<SampleRow> rows(2);
    EXPECT_THROW(weft::sample(View(ids, Dims{2}), View(), logits.view(), rows, stream), Error)
        << bad;
    EXPECT_THROW(weft::warp_logits(logits.view(), rows, stream), Error) << bad;
  }
}

}  // namespace
}  // namespace weft::test
