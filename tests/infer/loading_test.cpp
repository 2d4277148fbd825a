// How weights are found and what becomes of them, against the reference (tests/data/loading.json,
// by make_loading.py), on every grid of the ranks at hand.
#include "formats/open_model.h"
#include "infer/classify.h"
#include "infer/score.h"
#include "model/gather_parameter.h"
#include "src/io/files.h"
#include "tests/infer/golden.h"
#include "tests/io/shared_folder.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

const Json& golden() {
  static const Json json = read_json_object(data_dir() / "loading.json");
  return json;
}

// A folder's model on a grid, with more tokens than it has where asked.
struct Model : ModelOnGrid {
  Model(GridShape shape, ModelConfig c, const fs::path& dir, const LoadOptions& options = {})
      : ModelOnGrid(test_mpi().world(), shape, std::move(c), dir, DType::f32, options) {}
  std::vector<float> logprobs(const Ids& ids) {
    std::vector<float> out;
    const std::vector<TokenizedText> texts = {{ids, {}}};
    score_texts(ctx, config, parameters, texts,
                [&](std::size_t, std::span<const float> p) { out.assign(p.begin() + 1, p.end()); });
    return out;
  }
};

std::vector<GridShape> grids(const ModelConfig& config) {
  return grids_of(test_mpi().world()->size(), config);
}

void expect_near(std::span<const float> ours, const std::vector<double>& theirs, double bound,
                 const std::string& name) {
  ASSERT_EQ(ours.size(), theirs.size()) << name;
  for (std::size_t i = 0; i < theirs.size(); ++i)
    EXPECT_NEAR(static_cast<double>(ours[i]), theirs[i], bound) << name << ", number " << i;
}

TEST(Loading, ADecodersClassifierReadsTheLastTokenThatIsNoPadding) {
  for (const Json& g : golden()["classifiers"]) {
    const fs::path dir = data_dir() / "families" / g["model"].get<std::string>();
    ModelConfig config = read_hf_config(dir);
    config.pad_id = g["pad"].is_null() ? -1 : g["pad"].get<std::int32_t>();
    std::vector<TokenizedText> texts;
    for (const Json& ids : g["texts"]) texts.push_back({ids.get<Ids>(), {}});
    for (const GridShape& shape : grids(config)) {
      Model model(shape, config, dir);
      const std::string name =
          fmt::format("{} pad {} {}", g["model"].get<std::string>(), config.pad_id, name_of(shape));
      classify_texts(model.ctx, config, model.parameters, texts,
                     [&](std::size_t t, std::span<const float> logits) {
                       expect_near(logits, g["logits"][t].get<std::vector<double>>(), 2e-5, name);
                     });
    }
  }
}

// The tensors of gpt2_h3 with a head beside the token table: its rows the other way round, the
// same, or alone.
void write_with_head(const fs::path& dir, const std::string& kind) {
  const fs::path from = data_dir() / "gpt2_h3";
  const SafetensorsReader reader(from);
  fs::copy(from / "config.json", dir / "config.json");
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, tensor] : reader.tensors()) {
    const auto copy = [t = &tensor](std::span<std::byte> out) {
      std::memcpy(out.data(), t->data, out.size());
    };
    const bool table = name.ends_with("wte.weight");
    if (!table || kind != "alone") tensors.push_back({name, tensor.dtype, tensor.shape, copy});
    if (!table) continue;
    const auto turned = [t = &tensor](std::span<std::byte> out) {
      const std::size_t row = static_cast<std::size_t>(t->shape[1]) * 4;
      for (std::size_t at = 0; at < out.size(); at += row)
        std::memcpy(out.data() + out.size() - row - at, t->data + at, row);
    };
    if (kind == "other")
      tensors.push_back({"lm_head.weight", tensor.dtype, tensor.shape, turned});
    else
      tensors.push_back({"lm_head.weight", tensor.dtype, tensor.shape, copy});
  }
  write_safetensors(dir, tensors, 1 << 30, true);
}

TEST(Loading, AHeadBesideTheTableThatConfigJsonTiesItTo) {
  const Json& g = golden()["untied"];
  for (const std::string kind : {"other", "same", "alone"}) {
    const SharedFolder folder;
    if (folder.rank() == 0) write_with_head(folder.path(), kind);
    folder.barrier();
    const ModelConfig config = open_model(folder.path(), "the model").config();
    EXPECT_EQ(config.tied_head, kind != "other");
    EXPECT_EQ(warning_of_untied(config, "m").find("lm_head.weight") != std::string::npos,
              kind == "other");
    for (const GridShape& shape : grids(config)) {
      Model model(shape, config, folder.path());
      expect_near(model.logprobs(g["ids"].get<Ids>()), g[kind].get<std::vector<double>>(), 5e-5,
                  kind + " " + name_of(shape));
    }
  }
}

// A folder of pytorch_model.bin is the model whose safetensors lie in tests/data/families.
TEST(Loading, PytorchModelBinIsTheSameModel) {
  for (const auto& [bin, safe] :
       {std::pair("bert_old", "bert_mlm"), std::pair("llama_shards", "llama2")}) {
    const fs::path dir = data_dir() / "loading" / bin, same = data_dir() / "families" / safe;
    const ModelConfig config = open_model(dir, "the model").config();
    EXPECT_EQ(first_difference(config, open_model(same, "the model").config()), "");
    EXPECT_EQ(open_model(dir, "the model").weights()->format(), "fp32");
    for (const GridShape& shape : grids(config)) {
      const Model a(shape, config, dir), b(shape, config, same);
      for (const LocalParameter& p : a.parameters.list()) {
        if (p.weight.elems() == 0) continue;
        EXPECT_EQ(std::memcmp(p.weight.data(), b.parameters.at(p.info.name).weight.data(),
                              p.weight.bytes()),
                  0)
            << bin << ": " << p.info.name;
      }
    }
  }
}

// The files of a model of families/, with what the reference's case changed in it.
void write_untied(const fs::path& dir, const std::string& model) {
  const fs::path from = data_dir() / "families" / model;
  const SafetensorsReader reader(from);
  Json config = read_json_object(from / "config.json");
  config["tie_word_embeddings"] = false;
  write_file_atomically(dir / "config.json", json_text(config));
  const bool bert = model == "bert_mlm";
  const std::string head = bert ? "cls.predictions.decoder.weight" : "lm_head.weight";
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, tensor] : reader.tensors()) {
    if (name == head) continue;
    tensors.push_back({name, tensor.dtype, tensor.shape, [t = &tensor](std::span<std::byte> out) {
                         std::memcpy(out.data(), t->data, out.size());
                       }});
    if (!name.ends_with(bert ? "word_embeddings.weight" : "embed_tokens.weight")) continue;
    tensors.push_back({head, tensor.dtype, tensor.shape, [t = &tensor](std::span<std::byte> out) {
                         const std::size_t C = static_cast<std::size_t>(t->shape[1]);
                         for (std::size_t i = 0; i < out.size() / 4; ++i)
                           std::memcpy(out.data() + 4 * i,
                                       t->data + 4 * (i / C * C + C - 1 - i % C), 4);
                       }});
  }
  write_safetensors(dir, tensors, 1 << 30, true);
}

// New rows differ from the reference's by the noise that both draw: 3e-5 of the table's deviation.
TEST(Loading, NewTokensGetTheMeanOfTheOldRows) {
  for (const Json& g : golden()["new_tokens"]) {
    const SharedFolder folder;
    const std::string model = g["model"].get<std::string>();
    const bool tied = g["tied"].get<bool>();
    fs::path dir = data_dir() / "families" / model;
    if (!tied && folder.rank() == 0) write_untied(folder.path(), model);
    folder.barrier();
    if (!tied) dir = folder.path();
    ModelConfig config = open_model(dir, "the model").config();
    const std::int64_t n_old = std::exchange(config.vocab, config.vocab + 3);
    ASSERT_EQ(n_old, g["old"].get<std::int64_t>());
    std::map<std::string, std::vector<float>> first;
    for (const GridShape& shape : grids(config)) {
      Model m(shape, config, dir, {.new_tokens = {.n_old = n_old, .seed = 5}});
      const auto row = [&](const std::string& parameter, std::int64_t r) {
        const auto all = parameters_of(config);
        const auto p = std::find_if(all.begin(), all.end(),
                                    [&](const Parameter& q) { return q.name == parameter; });
        std::vector<float> whole =
            gather_parameter(*p, m.parameters, config, m.grid, &LocalParameter::weight, m.stream);
        if (m.grid.world().rank() != 0) return std::vector<float>();
        const auto [at, is_new] = first.emplace(parameter, whole);
        EXPECT_EQ(at->second, whole) << parameter << " on " << name_of(shape);
        const std::int64_t n = p->shape.rank() == 2 ? p->shape[1] : 1;
        return std::vector<float>(whole.begin() + r * n, whole.begin() + (r + 1) * n);
      };
      const std::string name = fmt::format("{} tied {} {}", model, tied, name_of(shape));
      const auto table = row("embed.tokens.weight", n_old),
                 next = row("embed.tokens.weight", n_old + 1),
                 head = tied ? table : row("head.weight", n_old);
      const auto bias = config.head_bias ? row("head.bias", n_old) : std::vector<float>();
      if (m.grid.world().rank() != 0) continue;
      expect_near(table, g["table"].get<std::vector<double>>(), 2e-5, name);
      expect_near(head, g["head"].get<std::vector<double>>(), 2e-5, name);
      EXPECT_NE(table, next) << "the noise is each row's own";
      if (config.head_bias) {
        EXPECT_NEAR(bias[0], g["bias"].get<double>(), 1e-7) << name;
      }
    }
  }
}

// Their covariance is 1e-9 of the old rows'.
TEST(Loading, NewTokensSpreadAsTheOldRowsDo) {
  constexpr std::int64_t V = 200, C = 3, kNew = 4000;
  std::vector<float> table(V * C);
  for (std::int64_t i = 0; i < V; ++i) {
    const auto x = static_cast<float>(i % 17) - 8, y = static_cast<float>(i * 7 % 23) - 11;
    table[i * C] = 1e4f * x, table[i * C + 1] = 1e4f * (x + y), table[i * C + 2] = 50;
  }
  StoredTensor old;
  old.name = "t", old.file = "f", old.shape = {V, C};
  old.data = reinterpret_cast<const std::byte*>(table.data());
  Parameter p;
  p.name = "embed.tokens.weight";
  p.shape = {V + kNew, C};
  p.axis = ShardAxis::vocab;
  std::vector<float> rows(kNew * C);
  fill_new_rows(old, p, false, {.n_old = V, .seed = 1}, {V, V + kNew}, rows.data());
  const auto covariance = [](const float* x, std::int64_t n, int a, int b) {
    double ma = 0, mb = 0, ab = 0;
    for (std::int64_t i = 0; i < n; ++i) ma += x[i * C + a], mb += x[i * C + b];
    for (std::int64_t i = 0; i < n; ++i) ab += (x[i * C + a] - ma / n) * (x[i * C + b] - mb / n);
    return ab / n;
  };
  for (const auto& [a, b] : {std::pair(0, 0), std::pair(0, 1), std::pair(1, 1)}) {
    const double expected = 1e-9 * covariance(table.data(), V, a, b);
    EXPECT_NEAR(covariance(rows.data(), kNew, a, b), expected, 0.15 * expected) << a << " " << b;
  }
  EXPECT_EQ(rows[2], 50.0f);
}

TEST(Loading, FoldersThatAreNoModelAreNamedForWhatTheyAre) {
  const SharedFolder shared;
  const fs::path from = data_dir() / "families" / "llama2";
  const auto folder_of = [&](const std::string& name) {
    const fs::path dir = shared.mine() / name;
    fs::create_directories(dir);
    return dir;
  };
  const auto with_prefix = [&](const std::string& prefix) {
    const fs::path dir = folder_of("prefix_" + prefix);
    const SafetensorsReader reader(from);
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, tensor] : reader.tensors())
      tensors.push_back(
          {prefix + name, tensor.dtype, tensor.shape, [t = &tensor](std::span<std::byte> out) {
             std::memcpy(out.data(), t->data, out.size());
           }});
    write_safetensors(dir, tensors, 1 << 30, true);
    fs::copy(from / "config.json", dir / "config.json");
    return dir;
  };
  const auto open = [](const fs::path& dir) {
    const ModelConfig config = open_model(dir, "the model").config();
    Model model({1, 1, test_mpi().world()->size()}, config, dir);
  };
  expect_user_error([&] { open(with_prefix("_orig_mod.")); }, {"_orig_mod.", "torch.compile"});
  expect_user_error([&] { open(with_prefix("module.")); }, {"module.", "data-parallel"});
  expect_user_error([&] { open(with_prefix("my.")); }, {"begin with my."});

  const fs::path adapter = folder_of("adapter");
  put(adapter / "adapter_config.json", R"({"base_model_name_or_path": "org/base", "r": 8})");
  expect_user_error([&] { open(adapter); }, {"LoRA", "org/base", "merge"});
  fs::copy(from / "config.json", adapter / "config.json");
  expect_user_error([&] { open(adapter); }, {"LoRA", "org/base"});

  const fs::path flax = folder_of("flax");
  fs::copy(from / "config.json", flax / "config.json");
  expect_user_error([&] { open(flax); }, {"neither model.safetensors nor pytorch_model.bin"});
  put(flax / "flax_model.msgpack", "x");
  expect_user_error([&] { open(flax); }, {"Flax"});
}

}  // namespace
}  // namespace weft::test
