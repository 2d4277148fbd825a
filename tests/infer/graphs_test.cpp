// Decode passes on a GPU are launched as graphs: no text depends on it, and few are captured.
#include "core/graph.h"

#include <cstdlib>

#include "tests/infer/golden.h"

namespace weft::test {
namespace {

struct Wanted {
  std::int64_t n_prompt, n_new;
  std::int64_t n_beams = 1;
};

std::vector<GenerationRequest> requests_of(const std::vector<Wanted>& wanted, std::int64_t vocab) {
  std::vector<GenerationRequest> requests;
  for (const Wanted& w : wanted) {
    Ids ids;
    for (std::int64_t i = 0; i < w.n_prompt; ++i)
      ids.push_back(static_cast<std::int32_t>((7 + 5 * w.n_prompt + 37 * i + i * i) % vocab));
    Generation g = greedy_options(w.n_new);
    g.num_beams = w.n_beams;
    requests.push_back({.ids = ids, .options = g, .stream = draw_stream(ids, 0)});
  }
  return requests;
}

struct Generated {
  std::vector<Ids> texts;
  GenerationCounts counts;
};

Generated generate(ModelOnGrid& m, const std::vector<Wanted>& wanted, bool graphs) {
  const auto requests = requests_of(wanted, m.config.vocab);
  Generated all{std::vector<Ids>(requests.size()), {}};
  EngineStatistics statistics;
  m.ctx.graphs = graphs;
  Engine engine(m.ctx, m.config, m.parameters, nullptr, {.max_batch = 5, .max_rows = 600},
                {&statistics, {}});
  engine.run(requests, [&](std::size_t r, std::int64_t, const Completion& c) {
    all.texts[r] = c.ids;
    EXPECT_EQ(c.finish, "length");
  });
  all.counts = statistics.counts;
  return all;
}

// While one lives, models are made on the CPU.
struct OnTheCpu {
  std::string before;
  OnTheCpu() {
    const char* device = std::getenv("WEFT_TEST_DEVICE");
    before = device ? device : "";
    setenv("WEFT_TEST_DEVICE", "cpu", 1);
  }
  ~OnTheCpu() { setenv("WEFT_TEST_DEVICE", before.c_str(), 1); }
};

// The text of every request on the suite's device, with graphs and without; in fp32 the CPU's.
void expect_one_text(const ModelConfig& config, const std::filesystem::path& dir, DType dtype,
                     const std::vector<Wanted>& wanted) {
  ModelOnGrid m(make_self_communicator(), {}, config, dir, dtype);
  const Generated with = generate(m, wanted, true), without = generate(m, wanted, false);
  EXPECT_EQ(with.texts, without.texts);
  EXPECT_EQ(without.counts.graph_launches, 0);
  if (dtype == DType::f32) {
    const OnTheCpu cpu;
    ModelOnGrid there(make_self_communicator(), {}, config, dir, dtype);
    const Generated expected = generate(there, wanted, true);
    EXPECT_EQ(with.texts, expected.texts);
    EXPECT_EQ(expected.counts.graph_launches, 0);
  }
  if (!Graph::available(m.device)) return;
  const GenerationCounts& c = with.counts;
  EXPECT_GT(c.graph_launches, c.passes * 2 / 3) << "of " << c.passes << " passes";
  EXPECT_LT(c.graph_captures, c.graph_launches / 4);
  EXPECT_GE(c.graph_captures, 3);
}

// Across pages' ends, by one text after another that is done.
TEST(Graphs, OfFewerAndFewerTextsChangeNone) {
  for (const DType dtype : {DType::f32, DType::bf16})
    expect_one_text(read_hf_config(data_dir() / "gpt2_h5"), data_dir() / "gpt2_h5", dtype,
                    {{3, 50}, {61, 30}, {5, 40}, {60, 12}, {2, 66}, {30, 12, 3}});
}

// Across the ends of the chunks that a GPU cuts keys into, with and without a window.
TEST(Graphs, OfLongerAndLongerTextsChangeNone) {
  const auto dir = data_dir() / "families" / "gemma2";
  ModelConfig config = read_hf_config(dir);
  config.context = 640;
  config.window = 270;
  expect_one_text(config, dir, DType::f32, {{250, 40}, {3, 60}, {500, 60}});
}

}  // namespace
}  // namespace weft::test
