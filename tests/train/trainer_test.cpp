// Whole runs: the log keeps its contract, a resumed run is the run that never stopped, and --keep,
// --resume and --steps do what they say.
#include <fcntl.h>
#include <sys/file.h>

#include "formats/checkpoint_folder.h"
#include "io/lock.h"
#include "tests/train/runs.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

// A grid that uses every axis the ranks allow.
void use_all_ranks(TrainOptions& o) {
  const int ranks = test_mpi().world()->size();
  o.tp = ranks == 4 ? 2 : 1;
  o.pp = ranks == 3 ? 1 : ranks >= 2 ? 2 : 1;
}

void copy_checkpoint(const SharedFolder& folder, const std::string& from, const std::string& to,
                     std::int64_t step) {
  if (folder.rank() == 0) {
    fs::create_directories(folder / to / "checkpoints");
    fs::copy_file(checkpoint_name(folder / from / "checkpoints", step),
                  checkpoint_name(folder / to / "checkpoints", step));
  }
  folder.barrier();
}

TEST(Trainer, TheLogKeepsItsContract) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  use_all_ranks(o);
  o.eval_every = 8;
  o.save_every = 7;
  run(o);
  if (folder.rank() != 0) return;
  const std::vector<Json> start = log_lines(o.out, "start"), steps = log_lines(o.out, "step"),
                          evals = log_lines(o.out, "eval");
  ASSERT_EQ(start.size(), 1u);
  for (const char* key : {"version", "hosts", "grid", "model", "parameters", "threads", "peaks",
                          "bytes_per_rank", "step", "batch_size", "options"})
    EXPECT_TRUE(start[0].contains(key)) << key;
  ASSERT_EQ(steps.size(), 20u);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const Json& line = steps[i];
    for (const char* key : {"event", "step", "loss", "grad_norm", "lr", "tokens", "step_s",
                            "tokens_per_s", "mfu", "peak_share", "comm_bytes", "shares"})
      EXPECT_TRUE(line.contains(key)) << key;
    EXPECT_EQ(line["step"], i + 1);
    EXPECT_EQ(line["tokens"], 5 * 16);
    EXPECT_EQ(line["comm_bytes"].get<std::int64_t>() > 0, folder.size() > 1);
    EXPECT_NEAR(line["tokens_per_s"].get<double>(), 80 / line["step_s"].get<double>(),
                1e-9 * line["tokens_per_s"].get<double>());
    double sum = 0;
    for (const char* key :
         {"forward", "backward", "comm", "optimizer", "bubble", "data", "other"}) {
      const double share = line["shares"].at(key).get<double>();
      EXPECT_GE(share, 0);
      sum += share;
    }
    EXPECT_EQ(line["shares"].size(), 7u);
    EXPECT_GT(line["mfu"].get<double>(), 0);
    EXPECT_GT(line["peak_share"].get<double>(), 0);
    EXPECT_LE(line["peak_share"].get<double>(), 1);
    EXPECT_NEAR(sum, 1, 1e-9);
  }
  EXPECT_LT(steps.back()["loss"].get<double>(), steps.front()["loss"].get<double>());
  ASSERT_EQ(evals.size(), 3u);  // 8, 16 and the last step
  for (const Json& line : evals)
    EXPECT_DOUBLE_EQ(line.at("perplexity").get<double>(), std::exp(line.at("loss").get<double>()));
  EXPECT_EQ(log_lines(o.out, "save").size(), 3u);
  EXPECT_EQ(log_lines(o.out).back().at("event"), "end");
  EXPECT_EQ(log_lines(o.out).back().at("reason"), "done");
  EXPECT_EQ(get(fs::path(o.out) / "recipe.toml"), "lr = 0.01\n");
}

TEST(Trainer, TenStepsAndTenMoreAreTwentyBitForBit) {
  const SharedFolder folder;
  const std::string data = make_data(folder);
  TrainOptions once = small_options(folder, data, "once"),
               twice = small_options(folder, data, "twice");
  use_all_ranks(once);
  use_all_ranks(twice);
  once.save_every = 10;
  run(once);
  copy_checkpoint(folder, "once", "twice", 10);
  run(twice);
  if (folder.rank() != 0) return;
  const auto all = losses_of(once.out), second = losses_of(twice.out);
  ASSERT_EQ(second.size(), 10u);
  for (const auto& [step, loss] : second) EXPECT_EQ(loss, all.at(step)) << step;
  EXPECT_EQ(header_of(checkpoint_name(folder / "twice/checkpoints", 20)),
            header_of(checkpoint_name(folder / "once/checkpoints", 20)));
  EXPECT_EQ(get(folder / "twice/model/model.safetensors"),
            get(folder / "once/model/model.safetensors"));
}

TEST(Trainer, AutoTakesTheNewestWholeCheckpointAndSetsTheRestAside) {
  const SharedFolder folder;
  const std::string data = make_data(folder);
  TrainOptions o = small_options(folder, data, "out");
  o.save_every = 5;
  o.keep = 0;
  run(o);
  const auto before = losses_of(o.out);
  const fs::path files = fs::path(o.out) / "checkpoints";
  folder.barrier();
  if (folder.rank() == 0) {
    std::string bytes = get(checkpoint_name(files, 20));
    put(checkpoint_name(files, 20), bytes.substr(0, bytes.size() / 2));
    bytes = get(checkpoint_name(files, 15));
    bytes[bytes.size() - 1000] = static_cast<char>(bytes[bytes.size() - 1000] ^ 4);
    put(checkpoint_name(files, 15), bytes);
    put(files / "step-00000030.h5.tmp", "left by a kill");
  }
  folder.barrier();
  o.save_every = 0;
  o.keep = 1;
  run(o);
  if (folder.rank() != 0) return;
  EXPECT_EQ(log_lines(o.out, "start").back().at("step"), 10);
  EXPECT_EQ(losses_of(o.out), before) << "the same losses to the bit";
  EXPECT_EQ(names_in(files), (std::vector<std::string>{"step-00000015.h5.aside", "step-00000020.h5",
                                                       "step-00000020.h5.aside"}));
}

// A value of a tensor is changed behind its checksum's back.
void spoil(const fs::path& checkpoint) {
  Hdf5File h5 = Hdf5File::open_for_update(checkpoint);
  const float wrong = 3;
  const FileRun first = {0, 0, 1};
  h5.write("/moments/v/embed.tokens.weight", ConstView(&wrong, Dims{1}), {&first, 1});
  h5.close();
}

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> all;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) all[entry.path().string()] = get(entry.path());
  return all;
}

// Checkpoints are there, so the run has been: it does not begin anew behind their back.
TEST(Trainer, StopsWhereNoCheckpointIsWhole) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.steps = 6;
  o.save_every = 3;
  run(o);
  if (folder.rank() == 0)
    for (const std::int64_t step : {3, 6})
      spoil(checkpoint_name(fs::path(o.out) / "checkpoints", step));
  folder.barrier();
  const auto before = contents(o.out);
  folder.barrier();
  const auto failure = failure_of([&] { run(o); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, FailureKind::program);
  for (const char* word : {"none of the 2 checkpoints is whole", "--resume none"})
    EXPECT_NE(failure->text.find(word), std::string::npos) << failure->text;
  folder.barrier();
  EXPECT_EQ(contents(o.out), before) << "nothing is touched";
}

// Half of a damaged checkpoint's moments are in memory when it is refused: the older one, and a run
// that begins anew, must not know.
TEST(Trainer, ADamagedCheckpointLeavesNoTraceInMemory) {
  const SharedFolder folder;
  const std::string data = make_data(folder);
  TrainOptions o = small_options(folder, data, "out"), clean = small_options(folder, data, "clean");
  o.steps = clean.steps = 6;
  o.save_every = clean.save_every = 3;
  run(clean);
  run(o);
  if (folder.rank() == 0) spoil(checkpoint_name(fs::path(o.out) / "checkpoints", 6));
  folder.barrier();
  run(o);
  if (folder.rank() == 0) {
    EXPECT_EQ(log_lines(o.out, "start").back().at("step"), 3);
    EXPECT_EQ(header_of(checkpoint_name(folder / "out/checkpoints", 6)),
              header_of(checkpoint_name(folder / "clean/checkpoints", 6)));
  }
  folder.barrier();
}

// Another process has it open: it is neither passed over nor renamed.
TEST(Trainer, ALockedCheckpointStopsTheRun) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.steps = 4;
  o.save_every = 2;
  run(o);
  folder.barrier();  // rank 0 has given the folder back
  const fs::path file = checkpoint_name(fs::path(o.out) / "checkpoints", 4);
  const auto before = contents(o.out);
  const int fd = folder.rank() == 0 ? ::open(file.c_str(), O_RDWR) : -1;
  if (fd >= 0) {
    EXPECT_EQ(::flock(fd, LOCK_EX), 0);
  }
  folder.barrier();
  o.steps = 6;
  const auto failure = failure_of([&] { run(o); });
  folder.barrier();
  if (fd >= 0) ::close(fd);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, FailureKind::program);
  EXPECT_NE(failure->text.find("step-00000004.h5: cannot be locked"), std::string::npos)
      << failure->text;
  EXPECT_EQ(contents(o.out), before);
  folder.barrier();
}

TEST(Trainer, AnotherDatasetIsAnotherRun) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.steps = 2;
  run(o);
  TrainOptions other = o;
  fs::create_directories(folder / "other");
  folder.barrier();
  if (folder.rank() == 0) fs::copy_file(o.data, folder / "same.h5");
  other.data = (folder / "same.h5").string();
  folder.barrier();
  other.steps = 3;
  run(other);  // the same content under another name
  const auto refused = [&](const char* what, const DataSettings& settings) {
    TrainOptions changed = other;
    changed.data = make_data(folder, settings);
    expect_user_error([&] { run(changed); }, {"step-00000003.h5", "another run", what,
                                              "--resume none", "--model", "another --out"});
  };
  refused("tokens was 3000, is 2900", {.n_tokens = 2900});
  refused("val_fraction was 0.1, is 0.2", {.val_fraction = 0.2});
  refused("data_checksum was", {.seed = 777});
  other.data = make_data(folder);
  other.lr *= 2;
  other.batch_size = 4;
  other.dropout = 0;
  other.steps = 4;
  run(other);  // with a warning
  if (folder.rank() == 0) {
    EXPECT_EQ(log_lines(o.out, "start").back().at("run").at("batch_size"), 4);
    EXPECT_EQ(log_lines(o.out, "start").front().at("run").at("batch_size"), 5);
  }
  folder.barrier();
}

TEST(Trainer, AFolderBelongsToOneRun) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.steps = 2;
  std::optional<FolderLock> lock;
  if (folder.rank() == 0) lock.emplace(o.out, "the test");
  folder.barrier();
  expect_user_error([&] { run(o); }, {"--out", "in use by process"});
  lock.reset();
  folder.barrier();
  run(o);
  folder.barrier();
  EXPECT_FALSE(fs::exists(fs::path(o.out) / FolderLock::kName));
  folder.barrier();
}

TEST(Trainer, AnotherSeedOrModelIsAMistakeNotDamage) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.steps = 2;
  run(o);
  TrainOptions other = o;
  other.seed = 6;
  expect_user_error([&] { run(other); }, {"--seed 5, not 6", "choose another --out"});
  other = o;
  other.width = 48;
  expect_user_error([&] { run(other); }, {"another model", "width", "choose another --out"});
  EXPECT_TRUE(fs::exists(checkpoint_name(fs::path(o.out) / "checkpoints", 2)));
  other = o;
  other.resume = (folder / "none.h5").string();
  expect_user_error([&] { run(other); }, {"--resume", "none.h5", "auto, none"});
}

TEST(Trainer, ResumeNoneStartsANewCourseAndLosesNothing) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.steps = 4;
  o.save_every = 2;
  run(o);
  o.resume = "none";
  o.steps = 3;
  o.save_every = 1;
  o.keep = 2;
  run(o);
  if (folder.rank() != 0) return;
  const fs::path files = fs::path(o.out) / "checkpoints";
  EXPECT_EQ(names_in(files),
            (std::vector<std::string>{"step-00000002.h5", "step-00000002.h5.aside",
                                      "step-00000003.h5", "step-00000004.h5.aside"}));
}

TEST(Trainer, WhatIsSetAsideNeverReplacesWhatWas) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.steps = 2;
  std::vector<std::string> saved;
  const fs::path file = checkpoint_name(fs::path(o.out) / "checkpoints", 2);
  for (int i = 0; i < 3; ++i) {
    o.resume = i == 0 ? "auto" : "none";
    o.lr = 0.01 * (i + 1);
    run(o);
    saved.push_back(get(file));
    folder.barrier();
  }
  EXPECT_EQ(get(file.string() + ".aside"), saved[0]);
  EXPECT_EQ(get(file.string() + ".aside.2"), saved[1]);
  folder.barrier();
}

// --model may be gone: the checkpoint has its config, its tokenizer and what became of its weights.
TEST(Trainer, AResumedFineTuningDoesWithoutItsFirstModel) {
  const SharedFolder folder;
  const std::string data = make_data(folder);
  TrainOptions first = small_options(folder, data, "first");
  first.steps = 2;
  run(first);
  TrainOptions o = small_options(folder, data, "tuned"), calm = o;
  o.model = calm.model = (folder / "first/model").string();
  calm.out = (folder / "calm").string();
  o.context = calm.context = 12;
  o.steps = 3;
  run(o);
  calm.save_every = 3;
  calm.steps = 5;
  run(calm);
  if (folder.rank() == 0) fs::remove_all(folder / "first");
  folder.barrier();
  o.steps = 5;
  run(o);
  if (folder.rank() == 0) {
    EXPECT_EQ(log_lines(o.out, "start").back().at("step"), 3);
    EXPECT_EQ(get(folder / "tuned/model/model.safetensors"),
              get(folder / "calm/model/model.safetensors"));
  }
  folder.barrier();
  o.resume = "none";
  expect_user_error([&] { run(o); }, {"first/model"});
}

TEST(Trainer, FewerStepsThanWereDoneChangesNothing) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.steps = 4;
  run(o);
  const fs::path file = checkpoint_name(fs::path(o.out) / "checkpoints", 4);
  const std::string before = get(file), model = get(fs::path(o.out) / "model/model.safetensors");
  folder.barrier();
  o.steps = 2;
  run(o);
  EXPECT_EQ(get(file), before);
  EXPECT_EQ(get(fs::path(o.out) / "model/model.safetensors"), model);
  if (folder.rank() == 0) {
    EXPECT_EQ(log_lines(o.out, "step").size(), 4u);
    EXPECT_EQ(names_in(fs::path(o.out) / "checkpoints").size(), 1u);
  }
  // Resumed into another folder, what that folder's log and model speak of is there too.
  TrainOptions elsewhere = o;
  elsewhere.out = (folder / "elsewhere").string();
  elsewhere.resume = file.string();
  run(elsewhere);
  EXPECT_EQ(header_of(checkpoint_name(folder / "elsewhere/checkpoints", 4)), header_of(file));
  folder.barrier();
}

TEST(Trainer, KeepsTheNewestCheckpoints) {
  const SharedFolder folder;
  const std::string data = make_data(folder);
  for (const std::int64_t keep : {0, 1, 3}) {
    TrainOptions o = small_options(folder, data, fmt::format("keep{}", keep));
    o.steps = 5;
    o.save_every = 1;
    o.keep = keep;
    run(o);
    const auto names = names_in(fs::path(o.out) / "checkpoints");
    EXPECT_EQ(names.size(), static_cast<std::size_t>(keep == 0 ? 5 : keep));
    EXPECT_EQ(names.back(), "step-00000005.h5");
    folder.barrier();
  }
}

TEST(Trainer, DivergenceEndsWithASentenceAndKeepsTheCheckpoints) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.steps = 300;
  o.lr = 1000;
  o.min_lr = 1000;
  o.weight_decay = 900;  // the weights grow by some 1e6 a step
  o.warmup_steps = 0;
  o.clip_grad_norm = 0;
  o.keep = 0;
  for (std::int64_t every : {1, 2}) {
    o.save_every = every;
    o.out = (folder / fmt::format("out{}", every)).string();
    try {
      run(o);
      FAIL() << "did not diverge";
    } catch (const UserError& error) {
      FAIL() << error.what();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("diverged"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("--lr"), std::string::npos) << error.what();
    }
    folder.barrier();
    if (folder.rank() != 0) continue;
    // Of the steps that did not, each that was due is saved, and none behind them.
    const std::size_t n = log_lines(o.out, "step").size(),
                      saved = list_checkpoints(fs::path(o.out) / "checkpoints").size();
    EXPECT_GE(n, 1u);
    EXPECT_EQ(saved, n / static_cast<std::size_t>(every));
  }
}

}  // namespace
}  // namespace weft::test
