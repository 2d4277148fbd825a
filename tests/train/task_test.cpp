// What fine-tuning makes of a classifier's labels, and which token it labels.
#include "train/task.h"

#include "formats/families/families.h"
#include "tests/io/token_file_alone.h"
#include "tests/train/runs.h"

namespace weft::test {
namespace {

ModelConfig classifier(const std::vector<std::string>& labels) {
  ModelConfig c = fresh_config("gpt2");
  c.layers = 1, c.width = 8, c.heads = c.kv_heads = 2, c.head_dim = 4, c.ffn = 32, c.vocab = 20,
  c.context = 16;
  set_head(c, HeadKind::classify);
  c.labels = labels;
  c.n_labels = static_cast<std::int64_t>(labels.size());
  c.pad_id = 0;
  return c;
}

TokenFileInfo data_of(const std::string& problem, const std::vector<std::string>& names) {
  TokenFileInfo info;
  info.task = "classify";
  info.vocab_size = 20;
  info.labels = LabelKind{problem, names};
  return info;
}

ModelConfig tuned(const std::vector<std::string>& model, const std::string& problem,
                  const std::vector<std::string>& data) {
  ModelConfig c = classifier(model);
  TrainOptions o;
  o.task = "classify";
  o.model = "m";
  set_task(c, o, data_of(problem, data), std::nullopt);
  return c;
}

TEST(Task, DataWithAPartOfTheModelsClassesKeepsItsHead) {
  using Names = std::vector<std::string>;
  const std::string single = "single_label_classification", several = "multi_label_classification";
  const Names three = {"bird", "cat", "dog"};
  for (const std::string& problem : {single, several}) {
    EXPECT_EQ(tuned(three, problem, {"cat", "dog"}).labels, three) << problem;
    EXPECT_EQ(tuned(three, problem, {"dog", "cat", "bird"}).labels, three) << problem;
  }
  EXPECT_EQ(tuned(three, single, {"cat", "fish"}).labels, (Names{"cat", "fish"}));
  const Names unnamed = {"LABEL_0", "LABEL_1", "LABEL_2"};
  EXPECT_EQ(tuned(unnamed, single, {"0", "2"}).n_labels, 3);
  EXPECT_EQ(tuned(unnamed, single, {"1", "3"}).n_labels, 2);
}

// Documents of the model's classes dog, cat, dog; the second ends in the pad token.
TokenFile make_texts(const SharedFolder& folder, const std::string& problem) {
  const std::filesystem::path file = folder / "texts.h5";
  if (folder.rank() == 0) {
    TokenFileInfo info = data_of(problem, {"cat", "dog"});
    TokenFilePart part;
    part.tokens = {5, 6, 7, 8, 9, 0, 0, 0};
    part.document_lengths = {3, 4, 1};
    if (info.labels->single())
      part.labels = {1, 0, 1};
    else
      part.targets = {0, 1, 1, 0, 0, 1};
    info.n_tokens = 8, info.n_documents = 3;
    info.tokenizer_hash = std::string(32, '0');
    test::write_token_file_alone(file, info, part);
  }
  folder.barrier();
  return TokenFile(file);
}

TEST(Task, SamplesCarryTheModelsClassesAndTheTokenThatIsLabelled) {
  for (const std::string problem : {"single_label_classification", "multi_label_classification"}) {
    const SharedFolder folder;
    const TokenFile file = make_texts(folder, problem);
    TrainOptions o;
    o.task = "classify";
    const ModelConfig c = tuned({"bird", "cat", "dog"}, problem, {"cat", "dog"});
    const auto data = task_data(c, o, file, 8, std::nullopt);
    std::map<std::int32_t, std::int32_t> ends;  // by length
    for (std::int64_t place = 0; place < 3; ++place) {
      std::vector<std::int32_t> ids(8);
      std::vector<float> targets(3);
      std::int32_t label = -5;
      for (const bool with_ids : {false, true}) {  // the last stage has no tokens
        Sample s;
        s.ids = with_ids ? ids.data() : nullptr;
        s.labels = &label;
        s.targets = targets.data();
        data->train_sample(place, s);
        ends[s.length] = s.label_end;
        const std::int32_t expected = s.length == 4 ? 1 : 2;  // cat; dog
        if (problem.starts_with("single"))
          EXPECT_EQ(label, expected);
        else
          EXPECT_EQ(targets[static_cast<std::size_t>(expected)], 1.0f);
      }
    }
    EXPECT_EQ(ends, (std::map<std::int32_t, std::int32_t>{{3, 3}, {4, 2}, {1, 1}}));
  }
}

}  // namespace
}  // namespace weft::test
