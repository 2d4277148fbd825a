#include "data/training_data.h"

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

void TrainingData::check_tokens(Range range) const {
  constexpr std::int64_t kPiece = 1 << 20;
  std::vector<std::int32_t> piece;
  for (std::int64_t at = range.begin; at < range.end; at += kPiece) {
    piece.resize(static_cast<std::size_t>(std::min(kPiece, range.end - at)));
    file_.read(at, static_cast<std::int64_t>(piece.size()), piece.data());
  }
}

std::int64_t TrainingData::in_epoch(std::int64_t place) const {
  const auto n = static_cast<std::uint64_t>(n_train_), at = static_cast<std::uint64_t>(place);
  return static_cast<std::int64_t>(permuted(at % n, n, mix64(seed_ ^ mix64(at / n + 0x5EED))));
}

void TrainingData::val_sample(std::int64_t index, Sample& sample) {
  CHECK(index < n_val_, "validation sample {} of {}", index, n_val_);
  fill(n_train_ + index, kValidation, sample);
}

std::int64_t TrainingData::count_tokens(std::int64_t first, std::int64_t n) const {
  std::int64_t total = 0;
  for (std::int64_t place = first; place < first + n; ++place) total += length(in_epoch(place));
  return total;
}

namespace {

class NextTokenData : public TrainingData {
 public:
  NextTokenData(const TokenFile& file, std::int64_t T, std::uint64_t seed)
      : TrainingData(file, T, seed), tokens_(static_cast<std::size_t>(T + 1)) {
    const std::int64_t train = file_.train_tokens(), val = file_.info().n_tokens - train;
    n_train_ = std::max<std::int64_t>(0, (train - 1) / T);
    n_val_ = std::max<std::int64_t>(0, (val - 1) / T);
    CHECK_USER(n_train_ > 0,
               "{}: has {} training tokens, too few for one sample of --context {} (it takes {})",
               file.path().string(), train, T, T + 1);
  }

 protected:
  void fill(std::int64_t i, std::int64_t, Sample& sample) override {
    sample.n_labels = T_;
    if (!sample.ids && !sample.labels) return;
    file_.read(i < n_train_ ? i * T_ : file_.train_tokens() + (i - n_train_) * T_, T_ + 1,
               tokens_.data());
    if (sample.ids) std::copy(tokens_.begin(), tokens_.end() - 1, sample.ids);
    if (sample.labels) std::copy(tokens_.begin() + 1, tokens_.end(), sample.labels);
  }
  std::int64_t length(std::int64_t) const override { return T_; }

 private:
  std::vector<std::int32_t> tokens_;  // (T + 1)
};

}  // namespace

std::unique_ptr<TrainingData> next_token_data(const TokenFile& file, std::int64_t T,
                                              std::uint64_t seed) {
  return std::make_unique<NextTokenData>(file, T, seed);
}

}  // namespace weft
