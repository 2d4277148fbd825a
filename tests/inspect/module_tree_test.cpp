// Module trees against what transformers prints (tests/data/make_module_trees.py).
#include "inspect/module_tree.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "core/check.h"
#include "formats/families/families.h"
#include "formats/open_model.h"
#include "inspect/torch_module.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

const fs::path kFamilies = fs::path(WEFT_TEST_DATA) / "families";

struct Golden {
  std::string name, of, tree;
  Json set;
  ModelConfig config() const {
    Json json = of.empty() ? Json::object() : read_json_object(kFamilies / of / "config.json");
    json.update(set);
    return config_from_json(json, name);
  }
};

std::vector<Golden> goldens() {
  std::vector<Golden> list;
  for (const auto& entry : fs::directory_iterator(fs::path(WEFT_TEST_DATA) / "module_trees")) {
    std::ifstream file(entry.path());
    std::string first;
    std::getline(file, first);
    std::stringstream rest;
    rest << file.rdbuf();
    const Json header = parse_json(first);
    Golden g = {entry.path().stem(), header["of"].is_null() ? "" : header["of"].get<std::string>(),
                rest.str(), header["set"]};
    g.tree.pop_back();  // the last newline
    list.push_back(std::move(g));
  }
  return list;
}

TEST(ModuleTree, IsWhatTransformersPrints) {
  for (const Golden& g : goldens()) EXPECT_EQ(module_tree(g.config()), g.tree) << g.name;
}

TEST(ModuleTree, EveryModelAndEveryClassHasAGolden) {
  std::set<std::string> models, classes, defaults;
  for (const Golden& g : goldens()) {
    if (g.set.empty()) models.insert(g.of);
    const ModelConfig c = g.config();
    classes.insert(architecture(c));
    if (g.of.empty()) defaults.insert(c.family);
  }
  for (const auto& entry : fs::directory_iterator(kFamilies))
    EXPECT_TRUE(models.contains(entry.path().filename())) << entry.path();
  for (const Family& row : families()) {
    EXPECT_TRUE(defaults.contains(row.name)) << row.name;
    std::set<std::string> heads = {"Model", "ForSequenceClassification"};
    if (std::any_of(row.tensors.begin(), row.tensors.end(),
                    [](const TensorName& t) { return t.ours == "token_labels.weight"; }))
      heads.insert("ForTokenClassification");
    if (!row.causal_lm.empty()) heads.insert(row.causal_lm);
    if (!row.defaults.causal) heads.insert("ForMaskedLM");
    for (const std::string& head : heads)
      EXPECT_TRUE(classes.contains(row.class_name + head)) << row.class_name << head;
  }
}

// A model that no file describes shows what its exported config.json would.
TEST(ModuleTree, OfAFreshModel) {
  for (const Family& row : families()) {
    ModelConfig c = fresh_config(row.name);
    c.layers = 2, c.width = 32, c.heads = c.kv_heads = 4, c.head_dim = 8, c.ffn = 48, c.vocab = 50,
    c.rope.dims = 8;
    finish_sizes(c);
    set_head(c, c.causal ? HeadKind::causal_lm : HeadKind::masked_lm);
    EXPECT_EQ(module_tree(c), module_tree(config_from_json(write_hf_config(c), row.name)))
        << row.name;
  }
}

TEST(ModuleTree, AGgufFileShowsItsHuggingFaceModel) {
  std::set<std::string> names;
  for (const Family& row : families()) names.insert(row.gguf.architecture);
  names.erase("");
  EXPECT_GE(names.size(), 9u);
  for (const std::string& name : names) {
    const fs::path file = fs::path(WEFT_TEST_DATA) / "gguf" / name;
    const Json golden = read_json_object(file.string() + ".json");
    Json json = golden["config"];
    json["architectures"] = {golden["architecture"]};
    json["pad_token_id"] = 0;  // the file's tokenizer says so
    EXPECT_EQ(module_tree(open_model(file.string() + ".gguf", "the model").config()),
              module_tree(config_from_json(json, name)))
        << name;
  }
}

// As torch 2.15 prints nn.ModuleList of these, and an empty one.
TEST(TorchModule, AListShowsARunOfEqualModulesOnce) {
  const torch::Module one = torch::linear(2, 3, true), other = torch::linear(3, 2, false);
  const torch::Module list = {"ModuleList", {{"0", one}, {"1", one}, {"2", other}, {"3", one}}};
  EXPECT_EQ(torch::printed({"Net", {{"layers", list}}}),
            "Net(\n"
            "  (layers): ModuleList(\n"
            "    (0-1): 2 x Linear(in_features=2, out_features=3, bias=True)\n"
            "    (2): Linear(in_features=3, out_features=2, bias=False)\n"
            "    (3): Linear(in_features=2, out_features=3, bias=True)\n"
            "  )\n"
            ")");
  EXPECT_EQ(torch::printed({"ModuleList", {}}), "ModuleList()");
  EXPECT_EQ(torch::printed({"Net", {{"a", other}, {"b", other}}}),
            "Net(\n"
            "  (a): Linear(in_features=3, out_features=2, bias=False)\n"
            "  (b): Linear(in_features=3, out_features=2, bias=False)\n"
            ")");
}

TEST(TorchModule, NumbersAsPythonPrintsThem) {
  const std::pair<Json, const char*> kNumbers[] = {
      {0, "0"},        {1, "1"},        {0.0, "0.0"},
      {1.0, "1.0"},    {0.1, "0.1"},    {1e-4, "0.0001"},
      {1e-5, "1e-05"}, {1e16, "1e+16"}, {9.999999974752427e-07, "9.999999974752427e-07"}};
  for (const auto& [number, text] : kNumbers) EXPECT_EQ(torch::python_number(number), text);
}

TEST(TorchModule, AnActivationWithoutAClass) {
  EXPECT_THROW(torch::activation("gelu_10"), UserError);
}

}  // namespace
}  // namespace weft
