// What a path holds, through the one door: each kind of path, whole, damaged and missing.
#include "formats/open_model.h"

#include "core/damaged.h"
#include "formats/checkpoint_weights.h"
#include "formats/hf_weights.h"
#include "model/gather_parameter.h"
#include "tests/held_model.h"
#include "tests/io/shared_folder.h"
#include "tests/mpi_main.h"
#include "text/files/tokenizer_files.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

StoredModel open(const fs::path& path) { return open_model(path.string(), "--model"); }

// A Hugging Face directory's model as a checkpoint, written by rank 0. Collective.
void write_checkpoint(const SharedFolder& folder, const fs::path& from, const fs::path& file,
                      const std::string& tokenizer = "") {
  if (folder.rank() == 0) {
    const StoredModel model = open(from);
    const auto weights = model.weights();
    const auto generation = model.generation();
    Stream stream;
    write_weights_checkpoint(
        file, model.config(), {tokenizer, generation ? generation->text : ""},
        [&](const Parameter& p) { return weights->read(p, model.config(), stream); }, 1);
  }
  folder.barrier();
}

// What every parameter holds on rank 0, after a load on a grid.
std::vector<std::vector<float>> loaded(const StoredModel& model, GridShape shape) {
  HeldModel held(test_mpi().world(), shape, model.config());
  const auto kept = model.weights()->load(held.ctx, held.parameters, model.config());
  EXPECT_TRUE(kept.empty());
  std::vector<std::vector<float>> all;
  for (const Parameter& p : parameters_of(model.config()))
    if (p.tied_to.empty())
      all.push_back(gather_parameter(p, held.parameters, held.config, held.grid,
                                     &LocalParameter::weight, held.stream));
  return all;
}

std::vector<std::vector<float>> read_alone(const StoredModel& model) {
  std::vector<std::vector<float>> all;
  Stream stream;
  const auto weights = model.weights();
  for (const Parameter& p : parameters_of(model.config()))
    if (p.tied_to.empty()) all.push_back(weights->read(p, model.config(), stream));
  return all;
}

void expect_loads_on_every_grid(const StoredModel& model) {
  const auto whole = read_alone(model);
  for (const GridShape& shape : grids_of(test_mpi().world()->size(), model.config())) {
    const auto got = loaded(model, shape);
    EXPECT_TRUE(test_mpi().rank() != 0 || got == whole) << model.path() << ", " << name_of(shape);
  }
}

TEST(OpenModel, ADirectoryAndItsCheckpointAreTheSameModel) {
  const SharedFolder folder;
  const fs::path dir = data_dir("gpt2_h3"), file = folder / "m.h5";
  write_checkpoint(folder, dir, file);
  const StoredModel a = open(dir), b = open(file);
  EXPECT_EQ(first_difference(a.config(), b.config()), "");
  EXPECT_EQ(read_alone(a), read_alone(b));
  expect_loads_on_every_grid(a);
  expect_loads_on_every_grid(b);
  for (const StoredModel* model : {&a, &b}) {
    const auto weights = model->weights();
    EXPECT_EQ(weights->format(), "fp32");
    EXPECT_EQ(weights->bytes(a.config()), 4 * count_parameters(a.config()));
    EXPECT_EQ(weights->dtype(stored_parts(a.config())[0], a.config()), DType::f32);
    EXPECT_EQ(weights->checksum(a.config()), model->weights()->checksum(a.config()));
    EXPECT_EQ(weights->advice(), "");
    weights->check(a.config());
  }
  EXPECT_TRUE(a.takes_new_tensors());
  EXPECT_FALSE(b.takes_new_tensors());
}

TEST(OpenModel, TheGenerationDefaultsAreByteForByte) {
  const SharedFolder folder;
  const fs::path dir = data_dir("gpt2_h3"), file = folder / "m.h5", bare = folder / "bare.h5";
  write_checkpoint(folder, dir, file);
  write_checkpoint(folder, data_dir("families") / "llama2", bare);
  const std::string text = get(dir / "generation_config.json");
  ASSERT_FALSE(text.empty());
  const auto a = open(dir).generation(), b = open(file).generation();
  ASSERT_TRUE(a && b);
  EXPECT_EQ(a->text, text);
  EXPECT_EQ(b->text, text);
  EXPECT_EQ(a->origin, (dir / "generation_config.json").string());
  EXPECT_EQ(b->origin, file.string() + ": generation_config.json");
  EXPECT_FALSE(open(bare).generation());
  EXPECT_FALSE(open(data_dir("families") / "llama2").generation());
  EXPECT_FALSE(open(data_dir("gguf") / "llama.gguf").generation());
}

TEST(OpenModel, TheTokenizerComesWithAllThree) {
  const SharedFolder folder;
  const Tokenizer words = load_tokenizer(data_dir("gpt2_words"));
  const fs::path dir = folder / "dir", file = folder / "m.h5";
  if (folder.rank() == 0) {
    fs::copy(data_dir("gpt2_h3"), dir);
    save_tokenizer(words, dir);
  }
  write_checkpoint(folder, data_dir("gpt2_h3"), file, words.to_json());
  for (const fs::path& path : {dir, file}) {
    const auto tokenizer = open(path).tokenizer();
    ASSERT_TRUE(tokenizer) << path;
    EXPECT_EQ(tokenizer->hash(), words.hash()) << path;
  }
  EXPECT_FALSE(open(data_dir("gpt2_h3")).tokenizer());
  const fs::path bare = folder / "bare.h5";
  write_checkpoint(folder, data_dir("gpt2_h3"), bare);
  EXPECT_FALSE(open(bare).tokenizer());
  for (const auto& entry : fs::directory_iterator(data_dir("gguf")))
    if (entry.path().extension() == ".gguf" && has_tokenizer(entry.path())) {
      EXPECT_EQ(open(entry.path()).tokenizer()->hash(), load_tokenizer(entry.path()).hash());
    }
}

TEST(OpenModel, AGgufFile) {
  const fs::path file = data_dir("gguf") / "llama.gguf";
  const StoredModel model = open(file);
  EXPECT_EQ(model.config().family, "llama");
  EXPECT_EQ(model.path(), file.string());
  EXPECT_TRUE(model.takes_new_tensors());
  expect_loads_on_every_grid(model);
  const auto weights = model.weights();
  EXPECT_EQ(weights->bytes(model.config()), stored_bytes(*open_tensors(file)));
  const StoredModel quantised = open(data_dir("gguf") / "llama_quantised.gguf");
  const ModelConfig& config = quantised.config();
  EXPECT_EQ(quantised.weights()->dtype(stored_parts(config)[0], config), DType::f32);
}

TEST(OpenModel, PytorchModelBinIsReadAndAdvisedAgainst) {
  const StoredModel model = open(data_dir("loading") / "bert_old");
  expect_loads_on_every_grid(model);
  EXPECT_NE(model.weights()->advice().find("weft convert"), std::string::npos);
}

TEST(OpenModel, WhatIsNoModelIsNamed) {
  const SharedFolder folder;
  const fs::path mine = folder.mine();
  expect_user_error([] { open_model("", "SRC"); }, {"SRC is missing", "checkpoint (.h5)"});
  for (const char* name : {"none", "none.h5", "none.gguf"})
    expect_user_error([&] { open(mine / name); }, {"--model ", name, "no such file or folder"});
  put(mine / "notes.txt", "not a model");
  put(mine / "notes.gguf", "not a model");
  for (const char* name : {"notes.txt", "notes.gguf"})
    expect_user_error([&] { open(mine / name); },
                      {name, "allowed: a HF directory, a GGUF file or a Weft checkpoint"});
  fs::create_directories(mine / "empty");
  expect_user_error([&] { open(mine / "empty"); }, {"config.json"});
  put(mine / "notes.h5", "not a model");
  expect_user_error([&] { open(mine / "notes.h5"); }, {"notes.h5"});
  Hdf5File other = Hdf5File::create(mine / "other.h5");
  other.write_text("/text", "of something else");
  other.close();
  expect_user_error([&] { open(mine / "other.h5"); }, {"other.h5", "is not a Weft checkpoint"});
}

TEST(OpenModel, CutFilesAreRefusedByName) {
  const SharedFolder folder;
  const fs::path whole = folder / "whole.h5", mine = folder.mine();
  write_checkpoint(folder, data_dir("gpt2_h3"), whole);
  const std::string h5 = get(whole), gguf = get(data_dir("gguf") / "llama.gguf");
  put(mine / "cut.h5", h5.substr(0, h5.size() / 2));
  EXPECT_THROW(open(mine / "cut.h5"), Damaged);
  put(mine / "cut.gguf", gguf.substr(0, gguf.size() / 2));
  expect_user_error([&] { open(mine / "cut.gguf"); }, {"cut.gguf"});
  fs::create_directories(mine / "cut");
  put(mine / "cut" / "config.json", get(data_dir("gpt2_h3") / "config.json"));
  const std::string tensors = get(data_dir("gpt2_h3") / "model.safetensors");
  put(mine / "cut" / "model.safetensors", tensors.substr(0, tensors.size() / 2));
  expect_user_error([&] { open(mine / "cut").weights(); }, {"model.safetensors"});
  fs::remove(mine / "cut" / "model.safetensors");
  const StoredModel bare = open(mine / "cut");  // its config alone is something to ask for
  EXPECT_EQ(bare.config().layers, open(data_dir("gpt2_h3")).config().layers);
  expect_user_error([&] { bare.weights(); }, {"neither model.safetensors nor pytorch_model.bin"});
}

// The sentence that all ranks are refused with alike.
std::string refusal(const StoredModel& model, const ModelConfig& config, GridShape shape,
                    bool* damaged = nullptr) {
  HeldModel held(test_mpi().world(), shape, config);
  std::string error;
  try {
    model.weights()->load(held.ctx, held.parameters, config);
  } catch (const UserError& e) {
    error = e.what();
    if (damaged) *damaged = dynamic_cast<const Damaged*>(&e) != nullptr;
  }
  for (const std::string& other : gather_texts(held.grid.world(), error, held.stream))
    EXPECT_EQ(other, error);
  return error;
}

TEST(OpenModel, AFlippedBitIsDamageOnAllRanks) {
  const SharedFolder folder;
  const fs::path file = folder / "m.h5";
  write_checkpoint(folder, data_dir("gpt2_h3"), file);
  const std::string dataset = "/parameters/layers.0.attn.qkv.weight";
  if (folder.rank() == 0) {
    Hdf5File h5 = Hdf5File::open_for_update(file);
    float value = 0;
    const FileRun run = {7, 0, 1};
    h5.read(dataset, View(&value, Dims{1}), {&run, 1});
    value = std::nextafter(value, 9.0f);
    h5.write(dataset, ConstView(&value, Dims{1}), {&run, 1});
    h5.close();
  }
  folder.barrier();
  const StoredModel model = open(file);  // its header is whole
  for (const GridShape& shape : grids_of(folder.size(), model.config())) {
    bool damaged = false;
    const std::string error = refusal(model, model.config(), shape, &damaged);
    EXPECT_NE(error.find(dataset + " is damaged"), std::string::npos) << error;
    EXPECT_TRUE(damaged) << name_of(shape);
  }
  Stream stream;
  const auto weights = model.weights();
  for (const Parameter& p : parameters_of(model.config())) {
    if (!p.tied_to.empty()) continue;
    if ("/parameters/" + p.name == dataset)
      EXPECT_THROW(weights->read(p, model.config(), stream), Damaged);
    else
      weights->read(p, model.config(), stream);
  }
}

// The last stage alone looks for the head; every rank says that it is missing.
TEST(OpenModel, AHeadThatIsMissingIsMissedByAllRanks) {
  const StoredModel model = open(data_dir("families") / "llama_base");
  ModelConfig config = model.config();
  set_head(config, HeadKind::classify);
  for (const GridShape& shape : grids_of(test_mpi().world()->size(), config)) {
    const std::string error = refusal(model, config, shape);
    EXPECT_NE(error.find("score.weight is missing"), std::string::npos) << error;
    HeldModel held(test_mpi().world(), shape, config);
    const auto kept =
        model.weights()->load(held.ctx, held.parameters, config, {.missing = MissingHead::keep});
    EXPECT_EQ(kept.size(), held.grid.is_last_stage() ? 1u : 0u) << name_of(shape);
  }
}

TEST(OpenModel, ChecksWhatTheConfigAsksFor) {
  const StoredModel model = open(data_dir("gpt2_h3"));
  ModelConfig wider = model.config();
  wider.ffn += 1;
  expect_user_error([&] { model.weights()->check(wider); }, {"but config.json makes it"});
}

TEST(OpenModel, NamesThatAskForACheckpoint) {
  EXPECT_TRUE(asks_for_checkpoint("a/b.h5"));
  EXPECT_TRUE(asks_for_checkpoint("b.hdf5"));
  EXPECT_FALSE(asks_for_checkpoint("b"));
  EXPECT_FALSE(asks_for_checkpoint("b.h5/c"));
}

}  // namespace
}  // namespace weft::test
