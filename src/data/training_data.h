// Training samples from a token file. Each epoch visits every sample once, in an order that a keyed
// permutation gives; so the data of a step depends on (seed, place) alone, never on the number of
// ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "comm/shard.h"
#include "data/sample.h"
#include "io/token_file.h"

namespace weft {

// A bijection of [0, n) chosen by the key: a four-round Feistel network on the smallest even-bit
// domain that holds n, walked until inside.
std::uint64_t permuted(std::uint64_t i, std::uint64_t n, std::uint64_t key);

class TrainingData {
 public:
  virtual ~TrainingData() = default;
  const TokenFile& file() const { return file_; }
  std::int64_t n_train() const { return n_train_; }  // samples of an epoch
  std::int64_t n_val() const { return n_val_; }
  void check_tokens(
      Range range) const;  // reads them; UserError where one lies outside the vocabulary

  // The sample at place `place` of the run, and a sample of the validation part.
  void train_sample(std::int64_t place, Sample& sample) { fill(in_epoch(place), place, sample); }
  void val_sample(std::int64_t index, Sample& sample);
  // Tokens of the samples at places [first, first + n), padding aside.
  std::int64_t count_tokens(std::int64_t first, std::int64_t n) const;

 protected:
  static constexpr std::int64_t kValidation = -1;
  TrainingData(const TokenFile& file, std::int64_t T, std::uint64_t seed)
      : file_(file), T_(T), seed_(seed) {}
  // Sample i of the file (those of validation follow the others). `place`: of the run, or
  // kValidation.
  virtual void fill(std::int64_t i, std::int64_t place, Sample& sample) = 0;
  virtual std::int64_t length(std::int64_t i) const = 0;
  std::int64_t in_epoch(std::int64_t place) const;

  TokenFile file_;
  std::int64_t T_, n_train_ = 0, n_val_ = 0;
  std::uint64_t seed_;
};

// Task clm: sample i is tokens [i·T, i·T + T] of the training part: T inputs, and as labels the
// same shifted by one. The validation part is cut likewise. UserError: fewer tokens than one
// sample.
std::unique_ptr<TrainingData> next_token_data(const TokenFile& file, std::int64_t T,
                                              std::uint64_t seed);

// Task mlm: sample i is document i, wrapped, cut to T tokens at a place drawn anew each epoch
// (validation: its beginning), masked as transformers' DataCollatorForLanguageModeling does: a
// content token is drawn with the probability; of those 80 % become the mask, 10 % a random token.
// Draws depend on (seed, place, position); those of validation on (sample, position) alone.
struct Masking {
  double probability = 0.15;
  std::int32_t mask_id = -1;
  std::vector<std::uint8_t> special;  // by id: never drawn
};
std::unique_ptr<TrainingData> masked_data(const TokenFile& file, std::int64_t T, std::uint64_t seed,
                                          Masking masking);

// Tasks classify and regress: sample i is document i, or a pair, wrapped, cut to T tokens (the
// longer text first). `classes`: the model's number of each of the file's classes. `pad_id`: what
// a model that labels the last token passes over (classified_end); -1: nothing.
std::unique_ptr<TrainingData> labelled_data(const TokenFile& file, std::int64_t T,
                                            std::uint64_t seed, std::vector<std::int32_t> classes,
                                            std::int32_t pad_id);

// The longest document, wrapped: more context than this is padding.
std::int64_t longest_sample(const TokenFile& file);

}  // namespace weft
