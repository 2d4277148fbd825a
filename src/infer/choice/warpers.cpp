#include "infer/choice/warpers.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace weft {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr std::size_t kMostTopH = 100;  // as transformers

}  // namespace

std::span<const double> Warpers::probabilities(std::span<const float> scores) {
  probabilities_.resize(scores.size());
  const double max = *std::max_element(scores.begin(), scores.end());
  double sum = 0;
  for (std::size_t i = 0; i < scores.size(); ++i)
    sum += probabilities_[i] = std::exp(static_cast<double>(scores[i]) - max);
  for (double& p : probabilities_) p /= sum;
  return probabilities_;
}

double Warpers::entropy() const {
  double entropy = 0;
  for (double p : probabilities_)
    if (p > 0) entropy -= p * std::log(p);
  return entropy;
}

void Warpers::keep_top_h(std::span<float> scores, double share) {
  order_.resize(scores.size());
  for (std::size_t i = 0; i < scores.size(); ++i) order_[i] = static_cast<std::int32_t>(i);
  const std::size_t n = std::min(kMostTopH, scores.size());
  const auto better = [&](std::int32_t a, std::int32_t b) {
    const float x = scores[static_cast<std::size_t>(a)], y = scores[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(n), order_.end(),
                    better);
  sorted_.clear();
  for (std::size_t i = 0; i < n; ++i)
    sorted_.push_back(scores[static_cast<std::size_t>(order_[i])]);
  probabilities(sorted_);
  const double most = share * entropy();
  double held = 0;
  std::size_t kept = 0;
  for (; kept < n && probabilities_[kept] > 0; ++kept) {
    held -= probabilities_[kept] * std::log(probabilities_[kept]);
    if (kept > 0 && held > most) break;
  }
  for (std::size_t i = kept; i < order_.size(); ++i)
    scores[static_cast<std::size_t>(order_[i])] = kMinusInfinity;
}

void Warpers::keep_typical(std::span<float> scores, double mass, std::size_t keep) {
  probabilities(scores);
  const double middle = entropy();
  distance_.resize(probabilities_.size());
  order_.clear();  // of what earlier warpers left, the nearest first
  for (std::size_t i = 0; i < distance_.size(); ++i) {
    distance_[i] = probabilities_[i] > 0 ? std::abs(-std::log(probabilities_[i]) - middle)
                                         : std::numeric_limits<double>::infinity();
    if (scores[i] > kMinusInfinity) order_.push_back(static_cast<std::int32_t>(i));
  }
  std::stable_sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
    return distance_[static_cast<std::size_t>(a)] < distance_[static_cast<std::size_t>(b)];
  });
  double held = 0;
  std::size_t last = 0;
  while (last + 1 < order_.size() &&
         (held += probabilities_[static_cast<std::size_t>(order_[last])]) < mass)
    ++last;
  const double farthest = distance_[static_cast<std::size_t>(order_[last])];
  for (std::size_t i = std::max(last, keep); i < order_.size(); ++i)
    if (distance_[static_cast<std::size_t>(order_[i])] > farthest)
      scores[static_cast<std::size_t>(order_[i])] = kMinusInfinity;
}

void Warpers::cut_below_epsilon(std::span<float> scores, double epsilon, std::size_t keep) {
  probabilities(scores);
  sorted_.assign(scores.begin(), scores.end());
  const std::size_t n = std::min(std::max<std::size_t>(keep, 1), sorted_.size());
  const auto last = sorted_.begin() + static_cast<std::ptrdiff_t>(n - 1);
  std::nth_element(sorted_.begin(), last, sorted_.end(), std::greater<>());
  for (std::size_t i = 0; i < scores.size(); ++i)
    if (probabilities_[i] < epsilon && scores[i] < *last) scores[i] = kMinusInfinity;
}

void Warpers::cut_below_eta(std::span<float> scores, double eta, std::size_t keep) {
  probabilities(scores);
  cut_below_epsilon(scores, std::min(eta, std::sqrt(eta) * std::exp(-entropy())), keep);
}

}  // namespace weft
