// The nearest rows against a plain loop in double and against numpy (tests/data/vector_search.json,
// by make_vector_search.py), on any number of ranks.
#include "infer/search/vector_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "comm/pass_limit.h"
#include "core/check.h"
#include "io/json.h"
#include "tests/held_model.h"
#include "tests/mpi_main.h"

namespace weft::test {
namespace {

using Near = std::vector<std::vector<NearRow>>;

struct Vectors {
  std::int64_t n = 0, C = 0;
  std::vector<float> values;
  Vectors(std::int64_t rows, std::int64_t width)
      : n(rows), C(width), values(static_cast<std::size_t>(rows * width)) {}
  float* row(std::int64_t r) { return values.data() + r * C; }
  const float* row(std::int64_t r) const { return values.data() + r * C; }
  ConstView view() const { return ConstView(values.data(), Dims{n, C}); }
  VectorSource source() const {
    return {.n = n,
            .C = C,
            .read = [this](std::int64_t first,
                           View to) { std::copy_n(row(first), to.elems(), to.as<float>()); },
            .name = "x.h5: /embeddings"};
  }
};

Vectors random_vectors(std::int64_t n, std::int64_t C, unsigned seed, float mean = 0.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(mean);
  Vectors v(n, C);
  for (float& x : v.values) x = normal(random);
  return v;
}

struct Ranks {
  Grid grid;
  Stream stream;
  Context ctx;
  Ranks()
      : grid(test_mpi().world(), {1, 1, test_mpi().world()->size()}),
        stream({}, 2),
        ctx{.grid = grid,
            .stream = stream,
            .precision = Precision::fp32,
            .clock = nullptr,
            .observer = {}} {}
  bool first() const { return grid.world().rank() == 0; }
};

double plain_score(Metric metric, const float* a, const float* b, std::int64_t C) {
  double dot = 0, aa = 0, bb = 0, dd = 0;
  for (std::int64_t i = 0; i < C; ++i) {
    const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
    dot += x * y, aa += x * x, bb += y * y, dd += (x - y) * (x - y);
  }
  if (metric == Metric::l2) return std::sqrt(dd);
  return metric == Metric::dot ? dot : dot / std::max(std::sqrt(aa) * std::sqrt(bb), 1e-12);
}

std::vector<NearRow> plain_nearest(const Vectors& rows, const float* query, Metric metric,
                                   std::int64_t k) {
  std::vector<NearRow> all;
  for (std::int64_t r = 0; r < rows.n; ++r)
    all.push_back({r, plain_score(metric, query, rows.row(r), rows.C)});
  std::sort(all.begin(), all.end(), [&](const NearRow& a, const NearRow& b) {
    if (a.score != b.score) return metric == Metric::l2 ? a.score < b.score : a.score > b.score;
    return a.row < b.row;
  });
  all.resize(static_cast<std::size_t>(std::min(k, rows.n)));
  return all;
}

void check(const Vectors& rows, const Vectors& queries, std::int64_t k, const std::string& name) {
  const Ranks ranks;
  for (const Metric metric : {Metric::cosine, Metric::dot, Metric::l2}) {
    const Near near = nearest_rows(ranks.ctx, rows.source(), queries.view(), metric, k);
    if (!ranks.first()) {
      EXPECT_TRUE(near.empty());
      continue;
    }
    ASSERT_EQ(near.size(), static_cast<std::size_t>(queries.n));
    for (std::int64_t q = 0; q < queries.n; ++q) {
      const auto& ours = near[static_cast<std::size_t>(q)];
      const auto plain = plain_nearest(rows, queries.row(q), metric, k);
      ASSERT_EQ(ours.size(), plain.size());
      for (std::size_t i = 0; i < ours.size(); ++i) {
        ASSERT_EQ(ours[i].row, plain[i].row)
            << name << ", " << kMetrics[static_cast<int>(metric)].text << ", query " << q
            << ", place " << i;
        ASSERT_NEAR(ours[i].score, plain[i].score, 1e-13 * std::max(1.0, std::abs(plain[i].score)));
      }
    }
  }
}

TEST(VectorSearch, AsAPlainLoopInDouble) {
  check(random_vectors(3000, 384, 1), random_vectors(3, 384, 2), 10, "three blocks a rank");
  check(random_vectors(700, 33, 3), random_vectors(300, 33, 4), 5, "many queries");
  check(random_vectors(5, 4, 5), random_vectors(2, 4, 6), 100, "more asked for than there are");
  check(random_vectors(1, 1, 7), random_vectors(1, 1, 8), 1, "one row");
  // All cosines within a few millionths of 1, as of many language models.
  check(random_vectors(2000, 48, 9, 300.0f), random_vectors(9, 48, 10, 300.0f), 20,
        "a narrow cone");
}

TEST(VectorSearch, RowsTooLargeOrSmallForFp32Products) {
  Vectors rows = random_vectors(60, 8, 11), queries = random_vectors(10, 8, 12);
  for (std::int64_t i = 0; i < rows.n * rows.C; ++i)
    rows.values[static_cast<std::size_t>(i)] *=
        std::pow(10.0f, static_cast<float>(i / rows.C % 7 * 12 - 36));
  std::fill_n(rows.row(13), rows.C, 0.0f);
  check(rows, queries, 60, "scales");
  check(rows, queries, 4, "scales");
  std::fill_n(queries.row(0), rows.C, 1e-30f);
  std::fill_n(queries.row(1), rows.C, 1e30f);
  check(rows, queries, 4, "scales");
}

TEST(VectorSearch, OfEqualScoresTheSmallerRow) {
  const Vectors one = random_vectors(1, 16, 13);
  Vectors rows(2500, 16);
  for (std::int64_t r = 0; r < rows.n; ++r) std::copy_n(one.row(0), 16, rows.row(r));
  check(rows, one, 7, "all alike");
  std::fill_n(rows.row(1), 16, 0.25f);
  check(rows, one, 7, "all but one alike");
  check(Vectors(30, 16), one, 7, "zeros");
}

TEST(VectorSearch, AsNumpy) {
  const Ranks ranks;
  const Json golden = read_json_object(data_dir() / "vector_search.json");
  const auto vectors = [](const Json& lists) {
    Vectors v(static_cast<std::int64_t>(lists.size()), static_cast<std::int64_t>(lists[0].size()));
    v.values.clear();
    for (const Json& list : lists)
      for (const Json& x : list) v.values.push_back(x.get<float>());
    return v;
  };
  const Vectors rows = vectors(golden["rows"]), queries = vectors(golden["queries"]);
  for (const Word<Metric>& metric : kMetrics) {
    const Near near = nearest_rows(ranks.ctx, rows.source(), queries.view(), metric.value,
                                   golden["top_k"].get<std::int64_t>());
    for (std::size_t q = 0; q < near.size(); ++q) {
      const Json& expected = golden["results"][metric.text][q];
      ASSERT_EQ(near[q].size(), expected["rows"].size());
      for (std::size_t i = 0; i < near[q].size(); ++i) {
        EXPECT_EQ(near[q][i].row, expected["rows"][i].get<std::int64_t>())
            << metric.text << ", query " << q << ", place " << i;
        EXPECT_NEAR(near[q][i].score, expected["scores"][i].get<double>(), 1e-12);
      }
    }
  }
}

TEST(VectorSearch, NamesTheFirstRowThatIsNotFinite) {
  const Ranks ranks;
  for (const float bad : {NAN, INFINITY}) {
    Vectors rows = random_vectors(2000, 64, 14);
    rows.row(1999)[63] = rows.row(1210)[0] = rows.row(1700)[5] = bad;
    try {
      nearest_rows(ranks.ctx, rows.source(), random_vectors(2, 64, 15).view(), Metric::dot, 3);
      ADD_FAILURE() << "no error";
    } catch (const UserError& error) {
      EXPECT_EQ(std::string(error.what()),
                "x.h5: /embeddings: row 1210 (from 0) is not finite (NaN or infinity)");
    }
  }
}

TEST(VectorSearch, ReadsEachRowOnce) {
  const Ranks ranks;
  const Vectors rows = random_vectors(4000, 100, 16);
  std::vector<std::int64_t> n_read(4000, 0);
  VectorSource source = rows.source();
  source.read = [&](std::int64_t first, View to) {
    EXPECT_LE(to.bytes(), std::size_t{1} << 20);
    for (std::int64_t r = first; r < first + to.dim(0); ++r) ++n_read[static_cast<std::size_t>(r)];
    rows.source().read(first, to);
  };
  nearest_rows(ranks.ctx, source, random_vectors(3, 100, 17).view(), Metric::cosine, 4);
  ranks.grid.world().all_reduce(View(n_read.data(), Dims{4000}), ReduceOp::sum, ranks.ctx.stream);
  EXPECT_EQ(n_read, std::vector<std::int64_t>(4000, 1));
}

// Half a gigabyte, which nobody holds: several rounds on one rank, or two.
TEST(VectorSearch, MoreThanARound) {
  const Ranks ranks;
  const std::int64_t n = 150'000, C = 1000;
  const auto first_of = [](std::int64_t row) { return static_cast<float>(row * 7919 % 100'003); };
  const VectorSource source = {.n = n,
                               .C = C,
                               .read =
                                   [&](std::int64_t first, View to) {
                                     float* x = to.as<float>();
                                     std::fill_n(x, to.elems(), 0.0f);
                                     for (std::int64_t r = 0; r < to.dim(0); ++r)
                                       x[r * C] = first_of(first + r);
                                   },
                               .name = "made"};
  Vectors query(1, C);
  query.values[0] = 2;
  std::vector<NearRow> expected;
  for (std::int64_t r = 0; r < n; ++r)
    if (first_of(r) >= 99'990) expected.push_back({r, 2 * static_cast<double>(first_of(r))});
  std::stable_sort(expected.begin(), expected.end(),
                   [](const NearRow& a, const NearRow& b) { return a.score > b.score; });
  const Near near = nearest_rows(ranks.ctx, source, query.view(), Metric::dot,
                                 static_cast<std::int64_t>(expected.size()));
  if (ranks.first()) {
    EXPECT_EQ(near[0], expected);
  }
}

TEST(VectorSearch, EndsWithItsTime) {
  Ranks ranks;
  PassLimit limit(Deadline(-1, "--walltime 1"), false);
  ranks.ctx.limit = &limit;
  const Vectors rows = random_vectors(10, 4, 18);
  EXPECT_THROW(nearest_rows(ranks.ctx, rows.source(), rows.view(), Metric::dot, 3), Interrupted);
}

}  // namespace
}  // namespace weft::test
