#include "infer/search/vector_search.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>

#include "comm/agreement.h"
#include "comm/pass_limit.h"
#include "comm/shard.h"
#include "core/check.h"
#include "core/parallel.h"
#include "kernels/ops.h"

namespace weft {
namespace {

constexpr std::int64_t kBlockBytes = std::int64_t{1} << 20;    // stays in a core's cache
constexpr std::int64_t kRoundBytes = std::int64_t{256} << 20;  // between two questions to all ranks
constexpr std::int64_t kQueriesAtOnce = 256;
constexpr int kRowsTag = 21, kScoresTag = 22;

double dot(const float* a, const float* b, std::int64_t n) {
  double sums[4] = {};  // a chain of additions alone would wait for itself
  std::int64_t i = 0;
  for (; i + 4 <= n; i += 4)
    for (int k = 0; k < 4; ++k)
      sums[k] += static_cast<double>(a[i + k]) * static_cast<double>(b[i + k]);
  for (; i < n; ++i) sums[0] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

struct Query {
  const float* x = nullptr;  // (C)
  double length = 0;
};

double score_of(Metric metric, const Query& q, const float* row, std::int64_t C) {
  if (metric == Metric::l2) {
    double square = 0;
    for (std::int64_t i = 0; i < C; ++i) {
      const double d = static_cast<double>(q.x[i]) - static_cast<double>(row[i]);
      square += d * d;
    }
    return std::sqrt(square);
  }
  const double product = dot(q.x, row, C);
  if (metric == Metric::dot) return product;
  return product / std::max(q.length * std::sqrt(dot(row, row, C)), 1e-12);
}

bool nearer(Metric metric, double a, double b) { return metric == Metric::l2 ? a < b : a > b; }

// The nearest of the rows that one query has met.
class Nearest {
 public:
  Nearest(Metric metric, std::int64_t top_k)
      : metric_(metric), top_k_(static_cast<std::size_t>(top_k)) {}
  // Whether no row of that score, or of a farther one, can be among them.
  bool excludes(double score) const {
    return heap_.size() == top_k_ && nearer(metric_, heap_[0].score, score);
  }
  void offer(const NearRow& row) {
    const auto before = [this](const NearRow& a, const NearRow& b) { return is_before(a, b); };
    if (heap_.size() == top_k_) {
      if (!is_before(row, heap_[0])) return;
      std::pop_heap(heap_.begin(), heap_.end(), before);
      heap_.back() = row;
    } else {
      heap_.push_back(row);
    }
    std::push_heap(heap_.begin(), heap_.end(), before);
  }
  std::vector<NearRow> sorted() const {
    std::vector<NearRow> all = heap_;
    std::sort(all.begin(), all.end(),
              [this](const NearRow& a, const NearRow& b) { return is_before(a, b); });
    return all;
  }

 private:
  bool is_before(const NearRow& a, const NearRow& b) const {
    return a.score != b.score ? nearer(metric_, a.score, b.score) : a.row < b.row;
  }
  Metric metric_;
  std::size_t top_k_;
  std::vector<NearRow> heap_;  // the farthest on top
};

// What all threads of a scan look for.
struct Search {
  const VectorSource& rows;
  const ConstView queries;  // (Q, C)
  const Metric metric;
  const std::int64_t top_k;
  std::vector<Query> each = {};  // of the queries

  // Σ of C products in any order is off by C·2⁻²⁴·|q||x| at most, and |x|² likewise.
  double bound() const { return static_cast<double>(rows.C + 8) * 0x1p-23; }
  std::int64_t block_rows() const {
    return std::max<std::int64_t>(1, kBlockBytes / (4 * std::max<std::int64_t>(rows.C, 1)));
  }
};

// One thread's part of a scan: a thread that waits for its rows leaves the others at work, and
// works on them where they are in its core's cache.
class Scanner {
 public:
  explicit Scanner(const Search& search)
      : search_(search), nearest_(search.each.size(), Nearest(search.metric, search.top_k)) {}
  // `reads` is held while the source is asked.
  void take(Range range, std::mutex& reads);
  const std::vector<Nearest>& nearest() const { return nearest_; }

 private:
  void measure(std::int64_t first_row, ConstView block);
  double best_score(const Query& q, double product, double length) const;
  void offer(std::size_t query, std::int64_t first_row, ConstView block, const float* products);

  const Search& search_;
  Stream stream_;
  std::vector<Nearest> nearest_;
  std::vector<float> block_, squares_, products_;
  std::vector<double> lengths_;
};

// |x| of each row. UserError where one is not finite.
void Scanner::measure(std::int64_t first_row, ConstView block) {
  const auto [n, C] = block.dims<2>();
  squares_.resize(static_cast<std::size_t>(n));
  head_squares(View(squares_.data(), Dims{n, 1}), block.reshape({n, 1, C}), {.n_heads = 1},
               stream_);
  lengths_.clear();
  for (const float square : squares_) lengths_.push_back(std::sqrt(static_cast<double>(square)));
  for (std::int64_t r = 0; r < n; ++r) {
    if (std::isfinite(squares_[static_cast<std::size_t>(r)])) continue;
    const float* row = block.as<float>() + r * C;  // or its square is too large for fp32
    CHECK_USER(std::all_of(row, row + C, [](float x) { return std::isfinite(x); }),
               "{}: row {} (from 0) is not finite (NaN or infinity)", search_.rows.name,
               first_row + r);
  }
}

// The nearest that a row may be whose fp32 product and length these are; NaN where they say
// nothing, because they are too large or small for fp32.
double Scanner::best_score(const Query& q, double product, double length) const {
  const double size = q.length * length, bound = search_.bound();
  if (!(length > 1e-12 && length < 1e18 && size > 1e-10 && size < 1e36)) return NAN;
  if (search_.metric == Metric::cosine) return product / size + bound;
  if (search_.metric == Metric::dot) return product + bound * size;
  const double squares = q.length * q.length + length * length;
  return std::sqrt(std::max(0.0, squares - 2 * product - bound * squares));
}

void Scanner::offer(std::size_t query, std::int64_t first_row, ConstView block,
                    const float* products) {
  const Query& q = search_.each[query];
  const auto [n, C] = block.dims<2>();
  for (std::int64_t r = 0; r < n; ++r) {
    const double length = lengths_[static_cast<std::size_t>(r)];
    if (nearest_[query].excludes(best_score(q, static_cast<double>(products[r]), length))) continue;
    nearest_[query].offer(
        {first_row + r, score_of(search_.metric, q, block.as<float>() + r * C, C)});
  }
}

void Scanner::take(Range range, std::mutex& reads) {
  const std::int64_t n = range.size(), C = search_.rows.C, Q = search_.queries.dim(0);
  block_.resize(static_cast<std::size_t>(n * C));
  const View block(block_.data(), Dims{n, C});
  {
    const std::lock_guard lock(reads);
    search_.rows.read(range.begin, block);
  }
  measure(range.begin, block);
  for (std::int64_t first = 0; first < Q; first += kQueriesAtOnce) {
    const std::int64_t m = std::min(kQueriesAtOnce, Q - first);
    products_.resize(static_cast<std::size_t>(m * n));
    linear(View(products_.data(), Dims{m, n}), search_.queries.rows(first, first + m), block, {},
           Precision::fp32, stream_);
    for (std::int64_t i = 0; i < m; ++i)
      offer(static_cast<std::size_t>(first + i), range.begin, block, products_.data() + i * n);
  }
}

// One rank's scan.
class Scan {
 public:
  Scan(const Search& search, int n_threads) : search_(search), n_threads_(n_threads) {
    for (int t = 0; t < n_threads; ++t)
      idle_.push_back(scanners_.emplace_back(std::make_unique<Scanner>(search)).get());
  }
  void take(Range range) {
    const std::int64_t step = search_.block_rows(), n = (range.size() + step - 1) / step;
    parallel_for(n, n_threads_, [&](std::int64_t i) {
      const std::int64_t begin = range.begin + i * step;
      Scanner* scanner = taken();
      scanner->take({begin, std::min(range.end, begin + step)}, reads_);
      const std::lock_guard lock(mutex_);
      idle_.push_back(scanner);
    });
  }
  std::vector<std::vector<NearRow>> nearest() const {
    std::vector<Nearest> all(search_.each.size(), Nearest(search_.metric, search_.top_k));
    for (const auto& scanner : scanners_)
      for (std::size_t q = 0; q < all.size(); ++q)
        for (const NearRow& row : scanner->nearest()[q].sorted()) all[q].offer(row);
    std::vector<std::vector<NearRow>> near;
    for (const Nearest& nearest : all) near.push_back(nearest.sorted());
    return near;
  }

 private:
  Scanner* taken() {
    const std::lock_guard lock(mutex_);
    Scanner* scanner = idle_.back();
    idle_.pop_back();
    return scanner;
  }
  const Search& search_;
  const int n_threads_;
  std::vector<std::unique_ptr<Scanner>> scanners_;
  std::vector<Scanner*> idle_;
  std::mutex mutex_, reads_;
};

// Every rank's rows to rank 0, which has the nearest of all when this returns.
void gather(Communicator& world, Stream& stream, const std::vector<Range>& shares, Metric metric,
            std::int64_t top_k, std::vector<std::vector<NearRow>>& near) {
  const auto elems = [&](int rank) {
    const auto share = shares[static_cast<std::size_t>(rank)];
    return static_cast<std::int64_t>(near.size()) * std::min(top_k, share.end - share.begin);
  };
  std::vector<std::int64_t> rows;
  std::vector<double> scores;
  const auto each_view = [&](std::int64_t n, const auto& move) {
    if (n == 0) return;
    move(View(rows.data(), Dims{n}), kRowsTag);
    move(View(scores.data(), Dims{n}), kScoresTag);
  };
  if (world.rank() > 0) {
    for (const std::vector<NearRow>& list : near)
      for (const NearRow& r : list) {
        rows.push_back(r.row);
        scores.push_back(r.score);
      }
    return each_view(elems(world.rank()), [&](View x, int tag) { world.send(x, 0, tag, stream); });
  }
  std::vector<Nearest> all(near.size(), Nearest(metric, top_k));
  for (std::size_t q = 0; q < near.size(); ++q)
    for (const NearRow& r : near[q]) all[q].offer(r);
  for (int from = 1; from < world.size(); ++from) {
    const std::int64_t n = elems(from);
    rows.resize(static_cast<std::size_t>(n));
    scores.resize(static_cast<std::size_t>(n));
    each_view(n, [&](View x, int tag) { world.recv(x, from, tag, stream); });
    const std::size_t each = near.empty() ? 1 : static_cast<std::size_t>(n) / near.size();
    for (std::size_t i = 0; i < rows.size(); ++i) all[i / each].offer({rows[i], scores[i]});
  }
  for (std::size_t q = 0; q < near.size(); ++q) near[q] = all[q].sorted();
}

}  // namespace

std::vector<std::vector<NearRow>> nearest_rows(const Context& ctx, const VectorSource& rows,
                                               ConstView queries, Metric metric,
                                               std::int64_t top_k) {
  CHECK(queries.dim(1) == rows.C, "queries {} for rows of {}", queries.shape().str(), rows.C);
  top_k = std::min(top_k, rows.n);
  Communicator& world = ctx.grid.world();
  std::vector<Range> shares;
  for (int r = 0; r < world.size(); ++r) shares.push_back(split_range(rows.n, world.size(), r));
  const Range mine = shares[static_cast<std::size_t>(world.rank())];
  Search search = {.rows = rows, .queries = queries, .metric = metric, .top_k = top_k};
  for (std::int64_t q = 0; q < queries.dim(0); ++q) {
    const float* x = queries.as<float>() + q * rows.C;
    search.each.push_back({x, std::sqrt(dot(x, x, rows.C))});
  }
  Scan scan(search, ctx.stream.n_threads());
  // The same number of rounds on every rank.
  const std::int64_t round = kRoundBytes / kBlockBytes * search.block_rows(),
                     share = (rows.n + world.size() - 1) / world.size();
  if (ctx.limit) ctx.limit->begin();
  for (std::int64_t done = 0; done < share; done += round) {
    if (ctx.limit) {
      const auto timed = time_as(ctx, TimeShare::comm);
      if (const auto ended = ctx.limit->ended(world, ctx.stream)) rethrow(*ended);
    }
    const Range part = {std::min(mine.end, mine.begin + done),
                        std::min(mine.end, mine.begin + done + round)};
    const auto failure = failure_of([&] {
      const auto timed = time_as(ctx, TimeShare::forward);
      scan.take(part);
    });
    const auto timed = time_as(ctx, TimeShare::comm);
    throw_together(world, failure, ctx.stream);
  }
  std::vector<std::vector<NearRow>> near = scan.nearest();
  const auto timed = time_as(ctx, TimeShare::comm);
  gather(world, ctx.stream, shares, metric, top_k, near);
  if (world.rank() > 0) near.clear();
  return near;
}

}  // namespace weft
