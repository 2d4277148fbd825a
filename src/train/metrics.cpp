#include "train/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/check.h"

namespace weft {
namespace {

double ratio(double a, double b) { return b == 0 ? 0.0 : a / b; }

double pearson(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  const double mx = std::accumulate(x.begin(), x.end(), 0.0) / n,
               my = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) * (x[i] - mx);
    yy += (y[i] - my) * (y[i] - my);
  }
  return xx == 0 || yy == 0 ? std::numeric_limits<double>::quiet_NaN()
                            : xy / std::sqrt(xx) / std::sqrt(yy);
}

std::vector<double> ranks(const std::vector<double>& x) {
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] < x[b]; });
  std::vector<double> rank(x.size());
  for (std::size_t begin = 0, end = 0; begin < x.size(); begin = end) {
    while (end < x.size() && x[order[end]] == x[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i)
      rank[order[i]] = static_cast<double>(begin + end - 1) / 2;
  }
  return rank;
}

}  // namespace

Metrics class_metrics(std::span<const std::int32_t> predicted, std::span<const std::int32_t> actual,
                      std::int64_t n_classes) {
  CHECK(predicted.size() == actual.size() && !actual.empty(), "{} predictions of {} samples",
        predicted.size(), actual.size());
  std::vector<double> right(static_cast<std::size_t>(n_classes)), said(right), there(right);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const auto p = static_cast<std::size_t>(predicted[i]), a = static_cast<std::size_t>(actual[i]);
    ++said.at(p);
    ++there.at(a);
    right[a] += p == a;
  }
  const auto n = static_cast<double>(actual.size());
  double correct = 0, f1_sum = 0, n_seen = 0, cross = 0, said2 = 0, there2 = 0;
  for (std::size_t k = 0; k < right.size(); ++k) {
    correct += right[k];
    if (said[k] + there[k] > 0) f1_sum += 2 * right[k] / (said[k] + there[k]), ++n_seen;
    cross += said[k] * there[k];
    said2 += said[k] * said[k];
    there2 += there[k] * there[k];
  }
  const double f1 =
      n_classes == 2 ? ratio(2 * right[1], said[1] + there[1]) : ratio(f1_sum, n_seen);
  const double spread = (n * n - said2) * (n * n - there2);  // Gorodkin 2004
  return {{"accuracy", correct / n},
          {"f1", f1},
          {"mcc", spread == 0 ? 0.0 : (correct * n - cross) / std::sqrt(spread)}};
}

Metrics label_set_metrics(std::span<const float> predicted, std::span<const float> actual,
                          std::int64_t n_labels) {
  CHECK(predicted.size() == actual.size() && !actual.empty(), "{} predictions of {} labels",
        predicted.size(), actual.size());
  const auto width = static_cast<std::size_t>(n_labels), n = actual.size() / width;
  std::vector<double> right(width), both(width);  // true positives; said and there, added
  double exact = 0;
  for (std::size_t i = 0; i < n; ++i) {
    bool same = true;
    for (std::size_t k = 0; k < width; ++k) {
      const float p = predicted[i * width + k], a = actual[i * width + k];
      same = same && p == a;
      right[k] += p != 0 && a != 0;
      both[k] += (p != 0) + (a != 0);
    }
    exact += same;
  }
  double macro = 0;
  for (std::size_t k = 0; k < width; ++k) macro += ratio(2 * right[k], both[k]);
  const double all_right = std::accumulate(right.begin(), right.end(), 0.0),
               all = std::accumulate(both.begin(), both.end(), 0.0);
  return {{"accuracy", exact / static_cast<double>(n)},
          {"f1_micro", ratio(2 * all_right, all)},
          {"f1_macro", macro / static_cast<double>(width)}};
}

Metrics number_metrics(std::span<const float> predicted, std::span<const float> actual,
                       std::int64_t n_columns) {
  CHECK(predicted.size() == actual.size() && !actual.empty(), "{} predictions of {} numbers",
        predicted.size(), actual.size());
  const auto width = static_cast<std::size_t>(n_columns), n = actual.size() / width;
  double mse = 0, linear = 0, monotone = 0;
  for (std::size_t k = 0; k < width; ++k) {
    std::vector<double> p, a;
    for (std::size_t i = 0; i < n; ++i) {
      p.push_back(static_cast<double>(predicted[i * width + k]));
      a.push_back(static_cast<double>(actual[i * width + k]));
      mse += (p[i] - a[i]) * (p[i] - a[i]);
    }
    linear += pearson(p, a);
    monotone += pearson(ranks(p), ranks(a));
  }
  const auto columns = static_cast<double>(width);
  return {{"mse", mse / static_cast<double>(actual.size())},
          {"pearson", linear / columns},
          {"spearman", monotone / columns}};
}

}  // namespace weft
