#include "formats/new_tokens.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/check.h"
#include "core/rng.h"

namespace weft {
namespace {

constexpr double kNoise = 1e-9;  // transformers': of the covariance, of a bias's deviation

std::uint64_t key_of(const std::string& name, std::uint64_t seed) {
  return mix64(seed ^ mix64(name_hash(name) ^ 0x7E57));
}

Philox draw(std::uint64_t key, std::int64_t row, std::uint32_t i) {
  return philox(key,
                {static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(row >> 32), i, 0});
}

std::vector<double> column_means(const StoredTensor& table) {
  const std::int64_t rows = table.shape[0], columns = table.shape.rank() == 2 ? table.shape[1] : 1,
                     at_once = std::max<std::int64_t>(1, (1 << 18) / columns);
  std::vector<double> sums(static_cast<std::size_t>(columns));
  std::vector<float> piece(static_cast<std::size_t>(at_once * columns));
  for (std::int64_t row = 0; row < rows; row += at_once) {
    const std::int64_t n = std::min(at_once, rows - row);
    read_elements(table, row * columns, n * columns, piece.data());
    for (std::int64_t i = 0; i < n * columns; ++i)
      sums[static_cast<std::size_t>(i % columns)] +=
          static_cast<double>(piece[static_cast<std::size_t>(i)]);
  }
  for (double& sum : sums) sum /= static_cast<double>(rows);
  return sums;
}

// Old rows drawn at random and weighted by normal numbers, less their mean: a sum of covariance
// that of all old rows, without a matrix of columns × columns.
void add_noise(const StoredTensor& old, const std::vector<double>& means, std::uint64_t key,
               std::int64_t row, std::vector<double>& to) {
  constexpr std::uint32_t kDrawn = 64;
  const auto columns = static_cast<std::int64_t>(means.size());
  std::vector<float> drawn(means.size());
  for (std::uint32_t k = 0; k < kDrawn; ++k) {
    const Philox words = draw(key, row, k);
    const auto which = static_cast<std::int64_t>(
        static_cast<unsigned __int128>(words[0] | static_cast<std::uint64_t>(words[1]) << 32) *
            static_cast<std::uint64_t>(old.shape[0]) >>
        64);
    read_elements(old, which * columns, columns, drawn.data());
    const double weight = normals(words[2], words[3])[0] * std::sqrt(kNoise / kDrawn);
    for (std::size_t c = 0; c < drawn.size(); ++c)
      to[c] += weight * (static_cast<double>(drawn[c]) - means[c]);
  }
}

double deviation(const StoredTensor& bias, double mean) {
  const std::int64_t n = bias.shape[0];
  std::vector<float> values(static_cast<std::size_t>(n));
  read_elements(bias, 0, n, values.data());
  double squares = 0;
  for (const float x : values)
    squares += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean);
  return n > 1 ? std::sqrt(squares / static_cast<double>(n - 1)) : 0;
}

}  // namespace

bool is_by_token(const Parameter& p) { return p.axis == ShardAxis::vocab; }

Parameter with_tokens(const Parameter& parameter, std::int64_t n_tokens) {
  Parameter p = parameter;
  p.shape = p.shape.rank() == 2 ? Dims{n_tokens, p.shape[1]} : Dims{n_tokens};
  return p;
}

void fill_new_rows(const StoredTensor& old, const Parameter& parameter, bool tied_head,
                   const NewTokens& tokens, Range range, float* out) {
  CHECK(is_by_token(parameter) && range.begin >= tokens.n_old, "{}: rows {} to {} are not new",
        parameter.name, range.begin, range.end);
  if (range.size() == 0) return;
  const std::uint64_t key = key_of(parameter.name, tokens.seed);
  const bool bias = parameter.shape.rank() == 1;
  if (bias && tied_head) {
    std::fill_n(out, range.size(), 0.0f);
    return;
  }
  const std::vector<double> means = column_means(old);
  const double spread = bias ? kNoise * deviation(old, means[0]) : 0;
  const auto columns = static_cast<std::int64_t>(means.size());
  for (std::int64_t row = range.begin; row < range.end; ++row) {
    std::vector<double> values = means;
    if (bias) {
      const Philox words = draw(key, row, 0);
      values[0] += spread * normals(words[0], words[1])[0];
    } else if (tokens.n_old > columns) {
      add_noise(old, means, key, row, values);
    }
    for (const double x : values) *out++ = static_cast<float>(x);
  }
}

}  // namespace weft
