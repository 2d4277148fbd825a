#include "inspect/projection.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace weft {
namespace {

using Vector = std::vector<double>;

double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// x of length 1, at right angles to `other`; false where no more than `floor` is left of it.
bool make_unit(Vector& x, const Vector& other, double floor) {
  for (int again = 0; again < 2 && !other.empty(); ++again) {
    const double along = dot(x, other);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] -= along * other[i];
  }
  const double length = std::sqrt(dot(x, x));
  if (length <= floor) return false;
  for (double& v : x) v /= length;
  return true;
}

// The rows' covariance times their number, which is applied to vectors and never made.
class Covariance {
 public:
  Covariance(std::span<const float> rows, std::size_t width)
      : rows_(rows), width_(width), mean_(width) {
    for (std::size_t at = 0; at < rows.size(); at += width)
      for (std::size_t c = 0; c < width; ++c) mean_[c] += static_cast<double>(rows[at + c]);
    for (double& m : mean_) m /= static_cast<double>(n());
  }
  std::size_t n() const { return rows_.size() / width_; }
  double along(std::size_t row, const Vector& x) const {
    double sum = 0;
    for (std::size_t c = 0; c < width_; ++c) sum += at(row, c) * x[c];
    return sum;
  }
  Vector apply(const Vector& x) const {
    Vector y(width_);
    for (std::size_t r = 0; r < n(); ++r) {
      const double a = along(r, x);
      for (std::size_t c = 0; c < width_; ++c) y[c] += a * at(r, c);
    }
    return y;
  }
  double trace() const {
    double sum = 0;
    for (std::size_t r = 0; r < n(); ++r)
      for (std::size_t c = 0; c < width_; ++c) sum += at(r, c) * at(r, c);
    return sum;
  }
  // The row that is farthest from the mean: a direction with variance to begin with.
  Vector farthest(const Vector& other) const {
    Vector best;
    double most = -1;
    for (std::size_t r = 0; r < n(); ++r) {
      Vector x(width_);
      for (std::size_t c = 0; c < width_; ++c) x[c] = at(r, c);
      const double a = other.empty() ? 0 : dot(x, other), left = dot(x, x) - a * a;
      if (left > most) most = left, best = std::move(x);
    }
    return best;
  }

 private:
  double at(std::size_t row, std::size_t c) const {
    return static_cast<double>(rows_[row * width_ + c]) - mean_[c];
  }
  std::span<const float> rows_;
  std::size_t width_;
  Vector mean_;
};

}  // namespace

// Two directions at once (orthogonal iteration, Rayleigh-Ritz at the end): each step shrinks what
// is not of the first two by the ratio of the third eigenvalue, however near these two are.
Projection principal_components(std::span<const float> rows, std::int64_t width) {
  constexpr int kSteps = 300;
  constexpr double kSettled = 1e-12, kNothing = 1e-13;
  CHECK(width >= 1 && rows.size() % static_cast<std::size_t>(width) == 0,
        "{} numbers of {} columns", rows.size(), width);
  const Covariance covariance(rows, static_cast<std::size_t>(width));
  Projection result = {.points = {}, .explained = {0, 0}};
  result.points.resize(covariance.n());
  const double all = covariance.n() > 0 ? covariance.trace() : 0;
  if (all <= 0) return result;
  Vector u = covariance.farthest({});
  if (!make_unit(u, {}, 0)) return result;
  Vector v = covariance.farthest(u);
  bool second = make_unit(v, u, kNothing * std::sqrt(all));
  std::array<double, 2> values = {0, 0};
  for (int step = 0; step < kSteps; ++step) {
    Vector cu = covariance.apply(u), cv = second ? covariance.apply(v) : Vector();
    // The 2×2 problem within the plane of u and v.
    const double a = dot(u, cu), b = second ? dot(u, cv) : 0, d = second ? dot(v, cv) : 0;
    const double angle = 0.5 * std::atan2(2 * b, a - d), cos = std::cos(angle),
                 sin = std::sin(angle);
    const std::array<double, 2> before = values;
    values = {a * cos * cos + 2 * b * cos * sin + d * sin * sin,
              a * sin * sin - 2 * b * cos * sin + d * cos * cos};
    for (std::size_t i = 0; i < cu.size() && second; ++i) {
      const double x = cu[i], y = cv[i];
      cu[i] = cos * x + sin * y;
      cv[i] = cos * y - sin * x;
    }
    u = std::move(cu);
    if (!make_unit(u, {}, 0)) break;
    if (second) {
      v = std::move(cv);
      second = make_unit(v, u, kNothing * all);
    }
    if (std::abs(values[0] - before[0]) + std::abs(values[1] - before[1]) <= kSettled * all) break;
  }
  if (!second) v.clear();
  for (Vector* direction : {&u, &v}) {
    const auto most =
        std::max_element(direction->begin(), direction->end(),
                         [](double x, double y) { return std::abs(x) < std::abs(y); });
    if (most != direction->end() && *most < 0)
      for (double& x : *direction) x = -x;
  }
  for (std::size_t r = 0; r < covariance.n(); ++r)
    result.points[r] = {covariance.along(r, u), v.empty() ? 0.0 : covariance.along(r, v)};
  result.explained = {std::max(0.0, values[0]) / all, std::max(0.0, values[1]) / all};
  return result;
}

}  // namespace weft
