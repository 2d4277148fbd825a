// Checkpoints are free of layout: what any grid saved, any grid loads bit for bit, and goes on
// from.
#include <bit>

#include "comm/agreement.h"
#include "core/rng.h"
#include "formats/checkpoint_folder.h"
#include "tests/train/runs.h"
#include "train/replica_check.h"

namespace weft::test {
namespace {

StepSettings settings_of(const GoldenValues& golden) {
  StepSettings s;
  s.batch_size = golden.B;
  s.micro_batch_size = 1;
  s.T = golden.T / 4;  // the curve matters here, not its length
  s.dropout = {.embedding = 0.1f, .attention = 0.1f, .residual = 0.1f};
  s.seed = 11;
  return s;
}

SampleSource source_of(const GoldenValues& golden, std::int64_t T) {
  return next_tokens(T, [&golden, T](std::int64_t place, std::int32_t* in, std::int32_t* labels) {
    const std::int32_t* row =
        golden.ids.data() + place % golden.B * (golden.T + 1) + place / golden.B % 3 * T;
    if (in) std::copy(row, row + T, in);
    if (labels) std::copy(row + 1, row + T + 1, labels);
  });
}

// Weights and moments of every parameter, whole, on rank 0 of the trial's world.
std::vector<std::vector<float>> everything(Trial& t) {
  std::vector<std::vector<float>> all;
  for (const Parameter& p : parameters_of(t.config)) {
    if (!p.tied_to.empty()) continue;
    for (const auto of : {&LocalParameter::weight, &LocalParameter::m, &LocalParameter::v})
      all.push_back(gather_parameter(p, t.parameters, t.config, t.grid, of, t.stream));
  }
  return all;
}

bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].size() != b[i].size() ||
        std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0)
      return false;
  return true;
}

// Every grid of the ranks at hand saves after 10 of 20 steps; every grid loads each of those files,
// holds the very same bits, and ends the 20 steps within 1e-5 of one rank that never stopped (the
// bound of train_parity_test). Uneven splits of heads and vocabulary included.
TEST(Checkpoint, AllPairsOfGridsResumeEachOther) {
  const int ranks = test_mpi().world()->size();
  for (const std::string& model : kGolden) {
    const SharedFolder folder;
    const GoldenValues golden(model);
    const StepSettings settings = settings_of(golden);
    const ModelConfig config = read_hf_config(data_dir(model));
    const SampleSource source = source_of(golden, settings.T);
    Trial alone(make_self_communicator(), {}, config, settings);
    std::vector<double> curve = alone.steps(source, 1, 20, golden.B);
    curve.erase(curve.begin(), curve.begin() + 10);

    const std::vector<GridShape> grids = grids_up_to(ranks, config);
    const auto file_of = [&](const GridShape& g) {
      return checkpoint_name(folder.path(), 1000 * g.tp + 100 * g.pp + 10 * g.dp);
    };
    std::map<std::filesystem::path, std::vector<std::vector<float>>> saved;
    double worst = 0;
    for (const GridShape& shape : grids) {
      auto world = first_ranks(shape.ranks());
      if (world) {
        Trial trial(std::move(world), shape, config, settings);
        trial.steps(source, 1, 10, golden.B);
        save_checkpoint(
            trial.ctx, file_of(shape), trial.parameters, config,
            {.step = 10, .cursor = 10 * golden.B, .seed = 11, .tokenizer = "{}", .generation = ""});
        saved[file_of(shape)] = everything(trial);
      }
      folder.barrier();
    }
    for (const GridShape& to : grids) {
      auto world = first_ranks(to.ranks());
      if (world) {
        Trial trial(std::move(world), to, config, settings);
        for (const GridShape& from : grids) {
          trial.parameters.init_weights(999, trial.stream);
          load_checkpoint(trial.ctx, file_of(from), trial.parameters, config);
          const std::string pair = fmt::format("{}: {} -> {}", model, name_of(from), name_of(to));
          const auto loaded = everything(trial);
          EXPECT_TRUE(folder.rank() != 0 || same_bits(loaded, saved[file_of(from)])) << pair;
          const double difference =
              largest_difference(trial.steps(source, 11, 20, golden.B), curve);
          EXPECT_LT(difference, 1e-5) << pair;
          worst = std::max(worst, difference);
        }
      }
      folder.barrier();
    }
    if (folder.rank() == 0)
      std::printf(
          "%s: %zu grids, all pairs; largest difference from one rank that never stopped %.1e\n",
          model.c_str(), grids.size(), worst);
  }
}

TEST(Checkpoint, TheSameStateGivesTheSameHeaderOnEveryGrid) {
  const SharedFolder folder;
  const GoldenValues golden("gpt2_h3");
  const ModelConfig config = read_hf_config(data_dir("gpt2_h3"));
  StepSettings settings = settings_of(golden);
  std::string header;
  for (const GridShape& shape : grids_up_to(test_mpi().world()->size(), config)) {
    auto world = first_ranks(shape.ranks());
    if (world) {
      Trial trial(std::move(world), shape, config, settings);
      save_checkpoint(trial.ctx, folder / "a.h5", trial.parameters, config,
                      {.step = 0, .cursor = 0, .seed = 11, .tokenizer = "", .generation = ""});
      trial.grid.world().barrier();
      if (header.empty()) header = header_of(folder / "a.h5");
      EXPECT_EQ(header_of(folder / "a.h5"), header) << name_of(shape);
    }
    folder.barrier();
  }
}

struct Saved {
  SharedFolder folder;
  ModelConfig config = small_config(1);
  StepSettings settings;
  std::unique_ptr<Trial> trial;
  std::filesystem::path file = folder / "step-00000003.h5";

  Saved() {
    settings.batch_size = 4;
    settings.T = 8;
    const int ranks = folder.size();
    const GridShape shape = ranks == 4 ? GridShape{2, 1, 2} : GridShape{std::min(ranks, 3), 1, 1};
    trial = std::make_unique<Trial>(test_mpi().world(), shape, config, settings);
    trial->steps(made_up_source(8, config.vocab), 1, 3, 4);
    save_checkpoint(trial->ctx, file, trial->parameters, config,
                    {.step = 3,
                     .cursor = 12,
                     .seed = 0,
                     .tokenizer = R"({"model":"a tokenizer"})",
                     .generation = ""});
    folder.barrier();
  }
  // The sentence that every rank is refused with, or "" where none is. Collective.
  std::string refusal() {
    std::string error;
    try {
      auto mine = failure_of([&] { read_checkpoint_header(file); });
      throw_together(trial->grid.world(), mine, trial->stream);
      load_checkpoint(trial->ctx, file, trial->parameters, config);
    } catch (const UserError& e) {
      error = e.what();
    }
    // The same on every rank: its checksum, at least and at most.
    std::int64_t sum = 0;
    for (const char c : error)
      sum = static_cast<std::int64_t>(
          mix64(static_cast<std::uint64_t>(sum) ^ static_cast<std::uint8_t>(c)));
    const auto least = trial->grid.world().all_reduce_value(sum, ReduceOp::min, trial->stream);
    const auto most = trial->grid.world().all_reduce_value(sum, ReduceOp::max, trial->stream);
    EXPECT_EQ(least, most) << "the ranks disagree; here: " << error;
    return error;
  }
};

// One bit of one byte of a dataset, changed in the file itself.
void flip(const std::filesystem::path& file, const std::string& dataset, std::int64_t element) {
  Hdf5File h5 = Hdf5File::open_for_update(file);
  const FileRun run = {element, 0, 1};
  if (h5.dtype(dataset) == DType::f32) {
    float value = 0;
    h5.read(dataset, View(&value, Dims{1}), {&run, 1});
    value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^ 0x100u);
    h5.write(dataset, ConstView(&value, Dims{1}), {&run, 1});
  } else {
    std::uint8_t value = 0;
    h5.read(dataset, View(static_cast<void*>(&value), DType::u8, Dims{1}), {&run, 1});
    value ^= 1;
    h5.write(dataset, ConstView(static_cast<const void*>(&value), DType::u8, Dims{1}), {&run, 1});
  }
  h5.close();
}

TEST(Checkpoint, OneFlippedBitAnywhereIsRefusedByAllRanksAlike) {
  Saved saved;
  ASSERT_EQ(saved.refusal(), "");
  const std::string whole = get(saved.file);
  std::vector<std::string> datasets = {"/header", "/tokenizer"};
  for (const Parameter& p : parameters_of(saved.config))
    if (p.tied_to.empty())
      for (const char* group : {"/parameters/", "/moments/m/", "/moments/v/"})
        datasets.push_back(group + p.name);
  for (const std::string& dataset : datasets) {
    const std::int64_t elems = Hdf5File::open(saved.file).shape(dataset).elems();
    for (const std::int64_t element : {std::int64_t{0}, elems / 2, elems - 1}) {
      saved.folder.barrier();
      if (saved.folder.rank() == 0) flip(saved.file, dataset, element);
      saved.folder.barrier();
      const std::string error = saved.refusal();
      EXPECT_NE(error.find("damaged"), std::string::npos)
          << dataset << " element " << element << ": " << error;
      EXPECT_NE(error.find("step-00000003.h5"), std::string::npos) << error;
      EXPECT_NE(error.find(dataset.substr(1)), std::string::npos)
          << "names no " << dataset << ": " << error;
      saved.folder.barrier();
      if (saved.folder.rank() == 0) put(saved.file, whole);
      saved.folder.barrier();
    }
  }
  EXPECT_EQ(saved.refusal(), "");
}

// Bytes flipped anywhere in the file, and cut ends: refused alike by all ranks, or read to the very
// same bits.
TEST(Checkpoint, DamageAnywhereIsRefusedOrHarmless) {
  Saved saved;
  ASSERT_EQ(saved.refusal(), "");
  const auto before = everything(*saved.trial);
  const std::string whole = get(saved.file);
  std::uint64_t state = 77;
  int refused = 0;
  for (int i = 0; i < 60; ++i) {
    const std::string bad = damaged(whole, state);
    saved.folder.barrier();
    if (saved.folder.rank() == 0) put(saved.file, bad);
    saved.folder.barrier();
    const std::string error = saved.refusal();
    refused += !error.empty();
    if (!error.empty()) continue;
    const auto after = everything(*saved.trial);
    EXPECT_TRUE(saved.folder.rank() != 0 || same_bits(after, before))
        << "damage " << i << " was read as if it were whole";
  }
  EXPECT_GT(refused, 30);
}

TEST(Checkpoint, OfAnotherModelOrNoCheckpointSaysSo) {
  Saved saved;
  ModelConfig other = saved.config;
  other.ffn += 1;
  Trial trial(test_mpi().world(), saved.trial->grid.shape(), other, saved.settings);
  expect_user_error([&] { load_checkpoint(trial.ctx, saved.file, trial.parameters, other); },
                    {"another model", "step-00000003.h5"});
  expect_user_error(
      [&] { load_checkpoint(trial.ctx, saved.folder / "none.h5", trial.parameters, other); },
      {"none.h5", "no such file"});
}

TEST(Checkpoint, ListsNewestFirstAndOnlyItsOwn) {
  const SharedFolder folder;
  if (folder.rank() == 0)
    for (const char* name :
         {"step-00000002.h5", "step-00000010.h5", "step-00000010.h5.tmp", "step-00000011.h5.aside",
          "step-x0000012.h5", "other.h5", "step-123456789.h5", "step--0000013.h5", "step-1.h5"})
      put(folder / name, "");
  folder.barrier();
  const auto list = list_checkpoints(folder.path());
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].filename(), "step-123456789.h5");
  EXPECT_EQ(list[1].filename(), "step-00000010.h5");
  EXPECT_EQ(list[2].filename(), "step-00000002.h5");
  for (const std::int64_t step :
       std::initializer_list<std::int64_t>{0, 7, 99'999'999, 100'000'000, 1'099'511'627'776})
    EXPECT_EQ(checkpoint_step(checkpoint_name("a", step)), step);
  EXPECT_TRUE(list_checkpoints(folder / "absent").empty());
  EXPECT_THROW(list_checkpoints(folder / "other.h5"), Error);  // a file in the folder's place
}

// One bit of one replica: nothing is saved, and the rank is named.
TEST(Checkpoint, ReplicasThatDifferAreNamed) {
  const SharedFolder folder;
  auto world = test_mpi().world();
  const int rank = world->rank(), ranks = world->size(), odd = ranks - 1;
  StepSettings settings;
  settings.T = 8;
  settings.batch_size = ranks;
  Trial trial(std::move(world), {.tp = 1, .pp = 1, .dp = ranks}, small_config(), settings);
  trial.parameters.zero_moments(trial.stream);
  check_replicas(trial.ctx, trial.parameters);
  if (ranks == 1) return;
  for (const auto of : {&LocalParameter::weight, &LocalParameter::m, &LocalParameter::v}) {
    float& x = (trial.parameters.list().back().*of).as<float>()[3];
    const float before = x;
    if (rank == odd) x = std::nextafter(x, 9.0f);
    const auto failure = failure_of([&] { check_replicas(trial.ctx, trial.parameters); });
    x = before;
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->kind, FailureKind::program);
    EXPECT_NE(failure->text.find(fmt::format("rank {} on host ", odd)), std::string::npos)
        << failure->text;
  }
}

}  // namespace
}  // namespace weft::test
