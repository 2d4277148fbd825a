// What a run's weights write on the way, on every grid, from the weights as training lays them out.
#include "infer/prompt_sampler.h"

#include "infer/continuation.h"
#include "model/gather_parameter.h"
#include "tests/infer/golden.h"
#include "text/files/tokenizer_files.h"

namespace weft::test {
namespace {

// A golden model as training holds it.
struct Trained : HeldModel {
  Trained(std::unique_ptr<Communicator> world, GridShape shape, const std::string& model,
          DType dtype = DType::f32, int chunks = 1)
      : HeldModel(std::move(world), shape, read_hf_config(data_dir() / model),
                  ParameterUse::training, dtype, chunks) {
    load_hf_weights(parameters, config, data_dir() / model, stream, {});
    parameters.refresh_bf16(stream);
  }
};

const SampledPrompts kPrompts = {
    .what = "--sample", .prompts = {"Q", "", "Q"}, .n_tokens = 12, .seed = 5};

TEST(PromptSampler, WritesTheSameTextOnEveryGridAndInEveryLayout) {
  const Tokenizer tokenizer = load_tokenizer(data_dir() / "tokenizer");
  for (const std::string& model : kModels) {
    Trained one(make_self_communicator(), {}, model);
    const std::vector<std::string> expected =
        PromptSampler(one.ctx, one.config, one.parameters, tokenizer, kPrompts).write();
    ASSERT_EQ(expected.size(), 3u);
    for (const std::string& text : expected) EXPECT_FALSE(text.empty());
    EXPECT_NE(expected[0], expected[2]) << "equal prompts are drawn for apart";
    for (const GridShape& shape : grids_of(test_mpi().world()->size(), one.config))
      for (const DType dtype : {DType::f32, DType::bf16})
        for (int chunks = 1; chunks * shape.pp <= one.config.layers && chunks <= 2; ++chunks) {
          Trained many(test_mpi().world(), shape, model, dtype, chunks);
          PromptSampler sampler(many.ctx, many.config, many.parameters, tokenizer, kPrompts);
          EXPECT_GT(sampler.bytes(), 0u);
          if (many.grid.dp().rank() != 0) continue;
          for (int again = 0; again < 2; ++again)
            EXPECT_EQ(sampler.write(), expected) << name_of(shape) << " chunks " << chunks;
        }
  }
}

TEST(PromptSampler, WritesByTheWeightsAsTheyAre) {
  const Tokenizer tokenizer = load_tokenizer(data_dir() / "tokenizer");
  Trained m(make_self_communicator(), {}, "gpt2_h3");
  PromptSampler sampler(m.ctx, m.config, m.parameters, tokenizer, kPrompts);
  const std::vector<std::string> before = sampler.write();
  m.parameters.init_weights(3, m.stream);
  EXPECT_NE(sampler.write(), before);
}

TEST(PromptSampler, ATextEndsWhereTheContextDoesAndAPromptLeavesRoom) {
  const Tokenizer tokenizer = load_tokenizer(data_dir() / "tokenizer");
  Trained m(make_self_communicator(), {}, "gpt2_h3");
  SampledPrompts p = kPrompts;
  p.n_tokens = 1 << 20;
  const auto texts = PromptSampler(m.ctx, m.config, m.parameters, tokenizer, p).write();
  const auto n = static_cast<std::int64_t>(tokenizer.encode("Q" + texts[0]).ids.size());
  EXPECT_LE(n, m.config.context + 8);  // the text's own tokens may be cut another way
  p.prompts[0] = std::string(200, 'Q');
  const auto failure =
      failure_of([&] { PromptSampler(m.ctx, m.config, m.parameters, tokenizer, p).write(); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, FailureKind::user);
  EXPECT_NE(failure->text.find("allowed: 1 to "), std::string::npos) << failure->text;
}

TEST(CopyWeights, GivesTheWeightsThatAnInferenceLoads) {
  for (const std::string& model : kModels)
    for (const GridShape& shape :
         grids_of(test_mpi().world()->size(), read_hf_config(data_dir() / model))) {
      Loaded loaded(test_mpi().world(), shape, model), copy(test_mpi().world(), shape, model);
      for (const LocalParameter& p : copy.parameters.list())
        std::fill_n(p.weight.as<float>(), p.weight.elems(), -1.0f);
      const int chunks = 2 * shape.pp <= loaded.config.layers ? 2 : 1;
      Trained trained(test_mpi().world(), shape, model, DType::f32, chunks);
      copy_weights(copy.parameters, trained.parameters, copy.grid, copy.stream);
      if (copy.grid.dp().rank() != 0) continue;
      for (const LocalParameter& p : loaded.parameters.list()) {
        const float *a = p.weight.as<float>(),
                    *b = copy.parameters.at(p.info.name).weight.as<float>();
        for (std::int64_t i = 0; i < p.weight.elems(); ++i)
          ASSERT_EQ(a[i], b[i]) << name_of(shape) << " " << p.info.name << " " << i;
      }
    }
}

}  // namespace
}  // namespace weft::test
