#include "train/data.h"

#include <algorithm>
#include <bit>

#include "core/check.h"
#include "core/rng.h"

namespace weft {

std::uint64_t permuted(std::uint64_t i, std::uint64_t n, std::uint64_t key) {
  CHECK(i < n, "place {} of {}", i, n);
  const int half = std::max(1, (static_cast<int>(std::bit_width(n - 1)) + 1) / 2);
  const std::uint64_t mask = (1ull << half) - 1;
  do {
    std::uint64_t left = i >> half, right = i & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t next = left ^ (mix64(key ^ mix64(right + (round << 60))) & mask);
      left = right;
      right = next;
    }
    i = left << half | right;
  } while (i >= n);
  return i;
}

TrainingData::TrainingData(const std::string& file, std::int64_t T, std::uint64_t seed)
    : file_(file), T_(T), seed_(seed), tokens_(static_cast<std::size_t>(T + 1)) {
  const std::int64_t train = file_.train_tokens(), val = file_.info().n_tokens - train;
  n_train_ = std::max<std::int64_t>(0, (train - 1) / T);
  n_val_ = std::max<std::int64_t>(0, (val - 1) / T);
  CHECK_USER(n_train_ > 0, "{}: has {} training tokens, too few for one sample of --context {} (it takes {})", file, train, T, T + 1);
}

void TrainingData::check_tokens(Range range) const {
  constexpr std::int64_t kPiece = 1 << 20;
  std::vector<std::int32_t> piece;
  for (std::int64_t at = range.begin; at < range.end; at += kPiece) {
    piece.resize(static_cast<std::size_t>(std::min(kPiece, range.end - at)));
    file_.read(at, static_cast<std::int64_t>(piece.size()), piece.data());
  }
}

void TrainingData::window(std::int64_t begin, std::int32_t* ids, std::int32_t* labels) {
  file_.read(begin, T_ + 1, tokens_.data());
  if (ids) std::copy(tokens_.begin(), tokens_.end() - 1, ids);
  if (labels) std::copy(tokens_.begin() + 1, tokens_.end(), labels);
}

void TrainingData::train_sample(std::int64_t cursor, std::int32_t* ids, std::int32_t* labels) {
  const auto n = static_cast<std::uint64_t>(n_train_), at = static_cast<std::uint64_t>(cursor);
  const std::uint64_t key = mix64(seed_ ^ mix64(at / n + 0x5EED));
  window(static_cast<std::int64_t>(permuted(at % n, n, key)) * T_, ids, labels);
}

void TrainingData::val_sample(std::int64_t index, std::int32_t* ids, std::int32_t* labels) {
  CHECK(index < n_val_, "validation sample {} of {}", index, n_val_);
  window(file_.train_tokens() + index * T_, ids, labels);
}

}  // namespace weft
