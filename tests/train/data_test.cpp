// The order of the training samples: a permutation of every epoch, decided by the seed and the
// place alone.
#include "data/training_data.h"

#include <set>

#include "tests/train/runs.h"

namespace weft::test {
namespace {

TEST(Permuted, IsABijectionForEverySize) {
  for (std::uint64_t n : {1ull, 2ull, 3ull, 4ull, 5ull, 7ull, 16ull, 17ull, 63ull, 64ull, 65ull,
                          255ull, 1000ull, 4097ull})
    for (std::uint64_t key : {0ull, 1ull, 0xFFFFFFFFFFFFFFFFull}) {
      std::vector<char> seen(n, 0);
      for (std::uint64_t i = 0; i < n; ++i) {
        const std::uint64_t to = permuted(i, n, key);
        ASSERT_LT(to, n);
        EXPECT_FALSE(seen[to]) << n << " " << key << ": " << to << " twice";
        seen[to] = 1;
      }
    }
}

TEST(Permuted, MovesThingsAndHeedsItsKey) {
  constexpr std::uint64_t n = 1000;
  std::uint64_t fixed = 0, equal = 0, neighbours = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    fixed += permuted(i, n, 1) == i;
    equal += permuted(i, n, 1) == permuted(i, n, 2);
    if (i) neighbours += permuted(i, n, 1) == permuted(i - 1, n, 1) + 1;
  }
  // Each count is about Poisson with mean 1 for a random permutation: above 12 is a chance of
  // 1e-10.
  EXPECT_LE(fixed, 12u);
  EXPECT_LE(equal, 12u);
  EXPECT_LE(neighbours, 12u);
}

TEST(TrainingData, VisitsEverySampleOnceAnEpochInAnotherOrderEachTime) {
  const SharedFolder folder;
  const std::string file =
      make_data(folder, {.vocab = 500, .n_tokens = 16 * 40 + 1, .val_fraction = 0});
  const auto data = next_token_data(TokenFile(file), 16, 3);
  ASSERT_EQ(data->n_train(), 40);
  std::vector<std::vector<std::int32_t>> epochs[2];
  for (std::int64_t cursor = 0; cursor < 80; ++cursor) {
    std::vector<std::int32_t> ids(16), labels(16);
    Sample sample = {.ids = ids.data(), .labels = labels.data()};
    data->train_sample(cursor, sample);
    EXPECT_TRUE(std::equal(ids.begin() + 1, ids.end(), labels.begin()))
        << "labels are the ids one on";
    epochs[cursor / 40].push_back(ids);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_EQ(std::multiset(epochs[0].begin(), epochs[0].end()),
            std::multiset(epochs[1].begin(), epochs[1].end()));
}

TEST(TrainingData, SaysWhenThereIsTooLittle) {
  const SharedFolder folder;
  const std::string file = make_data(folder, {.vocab = 50, .n_tokens = 16, .val_fraction = 0});
  expect_user_error([&] { next_token_data(TokenFile(file), 16, 0); },
                    {"16 training tokens", "--context 16", "17"});
}

// What a step reads, gathered over all ranks, is the same list on every grid; each data-parallel
// rank reads a part of its own.
TEST(TrainingData, TheSamplesOfAStepDoNotDependOnTheRankCount) {
  const ModelConfig config = small_config(2, 2, 16, 50, 8);
  for (std::int64_t batch : {4, 7, 8})
    for (const GridShape& shape : grids_of(test_mpi().world()->size())) {
      if (shape.tp > 2 || shape.pp > 2 || shape.dp > batch) continue;
      StepSettings settings;
      settings.batch_size = batch;
      settings.micro_batch_size = 3;
      settings.T = 8;
      Trial trial(test_mpi().world(), shape, config, settings);
      std::vector<std::int64_t> counts(static_cast<std::size_t>(batch), 0);
      const SampleSource source = made_up_source(8, 50);
      trial.step.gradients(
          [&](std::int64_t place, Sample& sample) {
            ASSERT_TRUE(100 <= place && place < 100 + batch) << place;
            if (sample.labels) ++counts[static_cast<std::size_t>(place - 100)];
            source(place, sample);
          },
          100, 1);
      trial.grid.world().all_reduce(View(counts.data(), Dims{batch}), ReduceOp::sum, trial.stream);
      for (std::int64_t n : counts) EXPECT_EQ(n, shape.tp) << name_of(shape) << " batch " << batch;
    }
}

}  // namespace
}  // namespace weft::test
