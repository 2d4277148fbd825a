// Every reader of files, given hundreds of damaged versions of each valid file: it reads them or
// throws UserError. Never another exception, a crash, a hang, or memory beyond reason.
#include <gtest/gtest.h>

#include <filesystem>

#include "cli/options.h"
#include "data/training_data.h"
#include "formats/checkpoint.h"
#include "formats/families/families.h"
#include "formats/hf_weights.h"
#include "infer/generation_file.h"
#include "infer/options.h"
#include "io/documents.h"
#include "io/files.h"
#include "io/weights/safetensors.h"
#include "io/weights/torch_file.h"
#include "tests/fuzz/harness.h"
#include "tests/io/token_file_alone.h"
#include "text/files/tokenizer_files.h"
#include "text/tokenizer.h"
#include "train/options.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using test::Folder;
using test::fuzz;
using test::put;

const fs::path kData = WEFT_TEST_DATA;

TEST(Fuzz, Config) {
  const Folder folder;
  fs::copy(kData / "gpt2_h3/config.json", folder / "config.json");
  fuzz(folder / "config.json", true, [&] { parameters_of(read_hf_config(folder.path())); });
}

TEST(Fuzz, GenerationConfig) {
  const Folder folder;
  put(folder / "generation_config.json",
      R"({"eos_token_id": [210, 3], "do_sample": true, "temperature": 0.7, "top_k": 40, )"
      R"("top_p": 0.9, "max_length": 64,
      "repetition_penalty": 1.1, "min_new_tokens": 2, "no_repeat_ngram_size": 3})");
  fuzz(folder / "generation_config.json", true, [&] {
    const std::filesystem::path path = folder / "generation_config.json";
    const GenerationFile file = parse_generation_config(read_text_file(path), path.string());
    resolve_generation({}, {}, file,
                       {.what = "the prompt", .n_tokens = 5, .context = 96, .vocab = 211}, nullptr);
  });
}

TEST(Fuzz, Safetensors) {
  const Folder folder;
  fs::copy(kData / "gpt2_h3/model.safetensors", folder / "model.safetensors");
  const ModelConfig config = read_hf_config(kData / "gpt2_h3");
  const Grid grid(make_self_communicator(), {1, 1, 1});
  Stream stream({}, 1);
  Parameters parameters(config, grid, DType::f32, ParameterUse::inference);
  fuzz(folder / "model.safetensors", false,
       [&] { load_hf_weights(parameters, config, folder.path(), stream); });
}

// A whole model of torch.save; the checksum of its pickle refuses most.
TEST(Fuzz, TorchModel) {
  const Folder folder;
  fs::copy(kData / "loading/bert_old/pytorch_model.bin", folder / "pytorch_model.bin");
  const ModelConfig config = read_hf_config(kData / "loading/bert_old");
  const Grid grid(make_self_communicator(), {1, 1, 1});
  Stream stream({}, 1);
  Parameters parameters(config, grid, DType::f32, ParameterUse::inference);
  fuzz(folder / "pytorch_model.bin", false,
       [&] { load_hf_weights(parameters, config, folder.path(), stream); });
}

// One without checksums, as torch writes where it is told to, so that the pickle's faults get
// through.
TEST(Fuzz, TorchFileWithoutChecksums) {
  const Folder folder;
  fs::copy(kData / "loading/without_crc.bin", folder / "pytorch_model.bin");
  fuzz(folder / "pytorch_model.bin", false, [&] {
    const TorchReader reader(folder.path());
    for (const auto& [name, tensor] : reader.tensors()) {
      if (!tensor.unreadable.empty() || tensor.dtype != DType::f32) continue;
      std::vector<float> out(static_cast<std::size_t>(tensor.shape.elems()));
      if (reader.find(name)) read_elements(tensor, 0, tensor.shape.elems(), out.data());
    }
  });
}

TEST(Fuzz, SafetensorsIndex) {
  const Folder folder;
  fs::copy(kData / "gpt2_h3/model.safetensors", folder / "part.safetensors");
  OrderedJson index = {{"metadata", {{"total_size", 1}}}, {"weight_map", OrderedJson::object()}};
  const SafetensorsReader whole(folder / "part.safetensors");
  for (const auto& [name, tensor] : whole.tensors()) index["weight_map"][name] = "part.safetensors";
  put(folder / "model.safetensors.index.json", json_text(index, 1));
  fuzz(folder / "model.safetensors.index.json", true,
       [&] { SafetensorsReader reader(folder.path()); });
}

TEST(Fuzz, Tokenizer) {
  const Folder folder;
  fs::copy(kData / "tokenizer/tokenizer.json", folder / "tokenizer.json");
  fuzz(folder / "tokenizer.json", true, [&] {
    const Tokenizer tokenizer = load_tokenizer(folder.path());
    tokenizer.decode(tokenizer.encode("The cat\xFF <|endoftext|> 12 \xF0\x9F\x90\x88").ids);
    tokenizer.hash();
  });
}

TEST(Fuzz, TokenFile) {
  const Folder folder;
  const fs::path file = folder / "tokens.h5";
  TokenFilePart part;
  for (std::int32_t i = 0; i < 2000; ++i) part.tokens.push_back(i % 211);
  part.document_lengths.assign(20, 100);
  const TokenFileInfo info = {.tokenizer_hash = "0123456789abcdef",
                              .task = "clm",
                              .tokenizer = "",
                              .vocab_size = 211,
                              .val_fraction = 0.1,
                              .n_tokens = 2000,
                              .n_documents = 20};
  test::write_token_file_alone(file, info, part);
  fuzz(file, false, [&] {
    const auto data = next_token_data(TokenFile(file), 32, 0);
    data->check_tokens({0, data->file().info().n_tokens});
  });
}

// Format 2: masked documents; pairs of a class each; documents of several labels or numbers.
TEST(Fuzz, LabelledTokenFile) {
  for (const std::string problem :
       {"", "single_label_classification", "multi_label_classification", "regression"}) {
    const Folder folder;
    const fs::path file = folder / "tokens.h5";
    TokenFilePart part;
    for (std::int32_t i = 0; i < 600; ++i) part.tokens.push_back(i % 211);
    part.document_lengths.assign(20, 30);
    TokenFileInfo info = {.tokenizer_hash = "0123456789abcdef",
                          .task = "mlm",
                          .tokenizer = "",
                          .vocab_size = 211,
                          .val_fraction = 0.1,
                          .n_tokens = 600,
                          .n_documents = 20};
    if (!problem.empty()) info.task = problem == "regression" ? "regress" : "classify";
    info.wrapping = {.before = {{2}, {0}},
                     .between = {{3}, {0}},
                     .behind = {{3}, {1}},
                     .first_type = 0,
                     .second_type = 1};
    if (!problem.empty()) info.labels = LabelKind{problem, {"a", "b", "c"}};
    if (problem == "single_label_classification") {
      info.pairs = true;
      part.first_lengths.assign(20, 12);
      for (std::int32_t i = 0; i < 20; ++i) part.labels.push_back(i % 3);
    } else if (!problem.empty()) {
      for (std::int32_t i = 0; i < 60; ++i) part.targets.push_back(static_cast<float>(i % 2));
    }
    test::write_token_file_alone(file, info, part);
    fuzz(file, false, [&] {
      const TokenFile tokens(file);
      std::vector<std::int32_t> ids(24), types(24), labels(24);
      std::vector<float> targets(3);
      const bool classes = tokens.info().labels.has_value();
      if (classes && tokens.info().labels->n_labels() > 3)
        return;  // a file that is whole, of more labels than we made room for
      const std::vector<std::uint8_t> special(static_cast<std::size_t>(tokens.info().vocab_size));
      const auto data = classes ? labelled_data(tokens, 24, 0, {0, 1, 2}, 0)
                                : masked_data(tokens, 24, 0, {0.15, 4, special});
      data->check_tokens({0, tokens.info().n_tokens});
      for (std::int64_t i = 0; i < data->n_train() + data->n_val(); ++i) {
        Sample sample = {.ids = ids.data(),
                         .types = types.data(),
                         .labels = labels.data(),
                         .targets = targets.data(),
                         .length = 24,
                         .n_labels = 0};
        if (i < data->n_train())
          data->train_sample(i, sample);
        else
          data->val_sample(i - data->n_train(), sample);
        CHECK(sample.length <= 24, "a sample of {} tokens", sample.length);
      }
    });
  }
}

TEST(Fuzz, Checkpoint) {
  const Folder folder;
  const fs::path file = folder / "step-00000001.h5";
  ModelConfig config = read_hf_config(kData / "gpt2_h3");
  config.layers = 1;
  config.source = nullptr;
  const Grid grid(make_self_communicator(), {1, 1, 1});
  Stream stream({}, 1);
  const Context ctx{.grid = grid,
                    .stream = stream,
                    .precision = Precision::fp32,
                    .clock = nullptr,
                    .observer = {}};
  Parameters parameters(config, grid, DType::f32, ParameterUse::training);
  save_checkpoint(ctx, file, parameters, config,
                  {.step = 1, .cursor = 4, .seed = 0, .tokenizer = "", .generation = ""});
  fuzz(file, false, [&] {
    read_checkpoint_header(file);
    load_checkpoint(ctx, file, parameters, config);
  });
}

TEST(Fuzz, Recipe) {
  const Folder folder;
  const fs::path file = folder / "recipe.toml";
  TrainOptions valid;
  valid.data = "tokens.h5";
  valid.out = "run";
  valid.steps = 10;
  valid.min_lr = 1e-5;
  put(file, to_toml([&](FieldVisitor& v) { valid.visit(v); }));
  fuzz(file, true, [&] {
    TrainOptions options;
    parse_options(
        {"train", "", nullptr, ""}, {"--config", file.string()},
        [&](FieldVisitor& v) { options.visit(v); }, false);
    validate(options);
  });
}

TEST(Fuzz, Jsonl) {
  const Folder folder;
  std::string lines;
  for (int i = 0; i < 20; ++i)
    lines += fmt::format(
        R"({{"id": {}, "prompt": "some \u00e9 text", "temperature": 0.5, "max_new_tokens": 3, )"
        R"("stop": ["a", "b"], "suppress_tokens": [3, 7], "sequence_bias": [[[3, 5], -2.5]], )"
        R"("exponential_decay_length_penalty": [2, 1.5], "bad_words_ids": [[1], [2, 4]]}})"
        "\n",
        i);
  put(folder / "in.jsonl", lines);
  ReadOptions keep;
  keep.keep_options = true;
  fuzz(folder / "in.jsonl", true, [&] {
    for (const Document& d : read_documents((folder / "in.jsonl").string(), keep)) {
      GenerationOptions own;
      set_from_json(
          d.options, [&](FieldVisitor& v) { own.visit(v); }, "in.jsonl");
      resolve_generation(
          own, {}, {}, {.what = "the prompt", .n_tokens = 5, .context = 96, .vocab = 211}, nullptr);
    }
  });
}

// Much damage of a table is still a table, and all text is text.
TEST(Fuzz, Table) {
  const Folder folder;
  std::string lines = "id,text\n";
  for (int i = 0; i < 20; ++i) lines += fmt::format("{},\"a \"\"quoted\"\"\ntext {}\"\n", i, i);
  put(folder / "in.csv", lines);
  fuzz(folder / "in.csv", false, [&] { read_documents((folder / "in.csv").string()); });
}

}  // namespace
}  // namespace weft
