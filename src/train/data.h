// Training samples from a token file. Sample i is tokens [i·T, i·T + T] of the training part: T inputs, and as labels the same
// shifted by one. Each epoch visits every sample once, in an order that a keyed permutation gives; so the data of a step depends on
// (seed, cursor) alone, never on the number of ranks.
#pragma once

#include <cstdint>
#include <string>

#include "comm/shard.h"
#include "io/token_file.h"

namespace weft {

// A bijection of [0, n) chosen by the key: a four-round Feistel network on the smallest even-bit domain that holds n, walked until
// inside.
std::uint64_t permuted(std::uint64_t i, std::uint64_t n, std::uint64_t key);

class TrainingData {
 public:
  // UserErrors: fewer tokens than one sample.
  TrainingData(const std::string& file, std::int64_t T, std::uint64_t seed);

  const TokenFile& file() const { return file_; }
  std::int64_t n_train() const { return n_train_; }  // samples of an epoch
  std::int64_t n_val() const { return n_val_; }
  std::int64_t n_tokens() const { return file_.info().n_tokens; }
  void check_tokens(Range range) const;  // reads them; UserError where one lies outside the vocabulary

  // The sample at place `cursor` of the run: ids (T), labels (T); either may be null.
  void train_sample(std::int64_t cursor, std::int32_t* ids, std::int32_t* labels);
  void val_sample(std::int64_t index, std::int32_t* ids, std::int32_t* labels);

 private:
  void window(std::int64_t begin, std::int32_t* ids, std::int32_t* labels);

  TokenFile file_;
  std::int64_t T_, n_train_ = 0, n_val_ = 0;
  std::uint64_t seed_;
  std::vector<std::int32_t> tokens_;  // (T + 1)
};

}  // namespace weft
