// What communication adds to a step: derived by hand, and the table of kernels/communication.md.
#include "plan/comm_time.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "io/files.h"
#include "model/attention_scale.h"
#include "tests/known_models.h"

namespace weft {
namespace {

using test::gpt2_1_5b;
using test::llama3_8b;

Machine polaris() {
  return read_machine(std::filesystem::path(WEFT_SOURCE_DIR) / "launch/polaris/machine.toml");
}

constexpr double kNode = 36.1e9;  // bytes/s of a node's NICs: alcf.md, 8 nodes, plugin
constexpr double kPair = 100e9, kFour = 300e9;  // of NVLink to one other GPU, to three

const GroupTime* find(const CommTime& t, GridGroup group) {
  for (const GroupTime& g : t.groups)
    if (g.group == group) return &g;
  return nullptr;
}

TEST(GroupPlace, FollowsTheRanks) {
  const auto expect = [](GridGroup group, GridShape grid, GroupPlace want) {
    const GroupPlace p = place_of(group, grid, 4);
    EXPECT_EQ(p.nodes, want.nodes);
    EXPECT_EQ(p.ranks_on_node, want.ranks_on_node);
    EXPECT_EQ(p.beside, want.beside);
  };
  expect(GridGroup::tp, {4, 1, 8}, {.nodes = 1, .ranks_on_node = 4, .beside = 1});
  expect(GridGroup::dp, {4, 1, 8}, {.nodes = 8, .ranks_on_node = 1, .beside = 4});
  expect(GridGroup::tp, {2, 1, 2}, {.nodes = 1, .ranks_on_node = 2, .beside = 2});
  expect(GridGroup::dp, {2, 1, 2}, {.nodes = 1, .ranks_on_node = 2, .beside = 2});
  expect(GridGroup::dp, {1, 1, 32}, {.nodes = 8, .ranks_on_node = 4, .beside = 1});
  expect(GridGroup::dp, {2, 1, 16}, {.nodes = 8, .ranks_on_node = 2, .beside = 2});
  expect(GridGroup::pp, {4, 2, 4}, {.nodes = 2, .ranks_on_node = 1, .beside = 4});
  expect(GridGroup::tp, {2, 1, 1}, {.nodes = 1, .ranks_on_node = 2, .beside = 1});
}

// Llama 3 8B, tp 4 on a node. A layer sums its two outputs forward, one of them again where it is
// recomputed, and its two inputs' gradients: 5 · 32; the embeddings and the head's gradient: 2.
// Beside products runs all of it but what says otherwise below.
TEST(CommTime, OfTensorParallelismByHand) {
  const ModelConfig c = llama3_8b();
  const Machine m = polaris();
  StepOnMachine step = {.config = c,
                        .machine = m,
                        .grid = {4, 1, 1},
                        .batch_size = 32,
                        .micro_batch_size = 1,
                        .T = 4096,
                        .recompute = Recompute::block,
                        .flops_per_s = 300e12};
  const CommTime t = communication_time(step);
  const GroupTime* tp = find(t, GridGroup::tp);
  ASSERT_TRUE(tp);
  const double x = 4096.0 * 4096 * 2;       // a micro-batch's activations in bf16
  const double stats = 4096.0 * 4 * 3 * 4;  // the head's, of all ranks
  const double wire = 32 * (162 * x * 1.5 + stats * 0.75);
  EXPECT_NEAR(tp->wire_bytes, wire, 1e-9 * wire);
  EXPECT_NEAR(tp->seconds, wire / kFour, 1e-9);
  // Nothing runs beside the embeddings' sum and the head's maxima. Half of the attention's sum
  // (0.084 ms) runs beside its last layer on the other half of the rows (0.057 ms), forward and
  // again; the other halves, beside the MLP and the next layer's queries, are hidden, and so are
  // the gradients' sums: 0.168 ms beside products of 0.80 and 0.17 ms.
  const double half = x / 2 * 1.5 / kFour, out = 2 * 2048.0 * 4096 * 4096 / 4 / 300e12;
  const double exposed = 32 * (x * 1.5 + stats * 0.75) / kFour + 32 * 2 * 32 * (half - out);
  EXPECT_NEAR(tp->exposed_s, exposed, 1e-9);
  const double flops = training_flops(c, {.n = 32, .rows = 4096}, Recompute::block);
  EXPECT_NEAR(t.compute_s, flops / 4 / 300e12, 1e-9 * t.compute_s);
  EXPECT_EQ(t.bubble_s, 0);
  EXPECT_NEAR(t.share(), t.exposed_s / (t.compute_s + t.exposed_s), 1e-12);
  // Halves of 1,000 rows are too few: a block's outputs are waited for.
  step.T = 2000;
  const CommTime few = communication_time(step);
  const double y = 2000.0 * 4096 * 2, few_stats = 2000.0 * 4 * 3 * 4;
  EXPECT_NEAR(find(few, GridGroup::tp)->exposed_s,
              32 * ((1 + 3 * 32) * y * 1.5 + few_stats * 0.75) / kFour, 1e-9);
}

// GPT-2 1.5B, dp 32 on 8 nodes: all gradients but the tables' may hide behind the last
// micro-batch's backward.
TEST(CommTime, OfDataParallelismByHand) {
  const ModelConfig c = gpt2_1_5b();
  const Machine m = polaris();
  const CommTime t = communication_time({.config = c,
                                         .machine = m,
                                         .grid = {1, 1, 32},
                                         .batch_size = 512,
                                         .micro_batch_size = 4,
                                         .T = 1024,
                                         .flops_per_s = 300e12});
  const GroupTime* dp = find(t, GridGroup::dp);
  ASSERT_TRUE(dp);
  // A GPU's table has a multiple of 128 rows; every tensor here is a multiple of 16 elements.
  const double tables = (50304.0 + 1024) * 1600 * 4;
  const double rest = (static_cast<double>(count_parameters(c)) - (50257.0 + 1024) * 1600) * 4;
  const double around = 2 * 31.0 / 32;
  const double scalars = 8 * around + 8;  // the count; the norm's broadcast
  EXPECT_NEAR(dp->wire_bytes, around * (tables + rest) + scalars, 1);
  // Forward 2 FLOPs a parameter and token, backward twice that.
  const StageCost cost = stage_costs(c, 1, 1024, Recompute::none)[0];
  const double backward = 4 * cost.backward() / 300e12;
  const double exposed = (around * tables + scalars) / kNode + around * rest / kNode - backward;
  EXPECT_NEAR(dp->exposed_s, exposed, 1e-9);
  EXPECT_GT(exposed, 0);
  // Where backward is long enough, the tables alone are waited for.
  const CommTime slow = communication_time({.config = c,
                                            .machine = m,
                                            .grid = {1, 1, 32},
                                            .batch_size = 512,
                                            .micro_batch_size = 4,
                                            .T = 1024,
                                            .flops_per_s = 30e12});
  EXPECT_NEAR(find(slow, GridGroup::dp)->exposed_s, (around * tables + scalars) / kNode, 1e-9);
}

// Two stages on two nodes, tp 4 within each: the four pairs share the node's NICs; one message
// fills the pipeline and one empties it.
TEST(CommTime, OfAPipelineByHand) {
  const ModelConfig c = llama3_8b();
  const Machine m = polaris();
  const CommTime t = communication_time({.config = c,
                                         .machine = m,
                                         .grid = {4, 2, 1},
                                         .batch_size = 16,
                                         .micro_batch_size = 1,
                                         .T = 4096,
                                         .recompute = Recompute::block,
                                         .flops_per_s = 300e12});
  const GroupTime* pp = find(t, GridGroup::pp);
  ASSERT_TRUE(pp);
  const double message = 4096.0 * 4096 * 2;
  EXPECT_EQ(pp->wire_bytes, 16 * message);
  EXPECT_NEAR(pp->exposed_s, 2 * message / (kNode / 4), 1e-9);
  EXPECT_NEAR(t.bubble_s, t.compute_s / 16, 1e-9);
  EXPECT_FALSE(find(t, GridGroup::tied_ends));  // its head is its own
}

TEST(CommTime, OfTwoGpusOfANodeIsTheLinkBetweenThem) {
  const ModelConfig c = gpt2_1_5b();
  const Machine m = polaris();
  const CommTime t = communication_time({.config = c,
                                         .machine = m,
                                         .grid = {2, 1, 2},
                                         .batch_size = 8,
                                         .micro_batch_size = 4,
                                         .T = 1024,
                                         .flops_per_s = 300e12});
  EXPECT_EQ(find(t, GridGroup::tp)->bandwidth.gb_per_s * 1e9, kPair);
  EXPECT_FALSE(find(t, GridGroup::tp)->bandwidth.is_measured);
}

TEST(CommTime, AMachineThatDoesNotSayIsTheUsersMistake) {
  const ModelConfig c = gpt2_1_5b();
  Machine m;
  m.name = "x";
  EXPECT_THROW(
      communication_time({.config = c, .machine = m, .grid = {2, 1, 1}, .T = 8, .flops_per_s = 1}),
      UserError);
}

// ---- the table

struct Row {
  const char* model;
  std::int64_t nodes;
  GridShape grid;
};

std::vector<Row> rows_of_table() {
  return {{"GPT-2 1.5B", 1, {1, 1, 4}},  {"GPT-2 1.5B", 1, {2, 1, 2}}, {"GPT-2 1.5B", 1, {4, 1, 1}},
          {"GPT-2 1.5B", 8, {1, 1, 32}}, {"GPT-2 1.5B", 8, {4, 1, 8}}, {"GPT-2 1.5B", 8, {2, 2, 8}},
          {"Llama 3 8B", 1, {4, 1, 1}},  {"Llama 3 8B", 1, {2, 2, 1}}, {"Llama 3 8B", 1, {1, 4, 1}},
          {"Llama 3 8B", 8, {4, 1, 8}},  {"Llama 3 8B", 8, {4, 2, 4}}, {"Llama 3 8B", 8, {2, 2, 8}},
          {"Llama 3 8B", 8, {4, 8, 1}}};
}

std::string line_of(const Row& row) {
  const Machine m = polaris();
  const bool gpt2 = std::string_view(row.model) == "GPT-2 1.5B";
  const ModelConfig c = gpt2 ? gpt2_1_5b() : llama3_8b();
  const std::int64_t batch = (gpt2 ? 128 : 32) * (row.nodes == 1 ? 1 : 4);
  const CommTime t = communication_time({.config = c,
                                         .machine = m,
                                         .grid = row.grid,
                                         .batch_size = batch,
                                         .micro_batch_size = gpt2 ? 4 : 1,
                                         .T = gpt2 ? 1024 : 4096,
                                         .recompute = Recompute::block,
                                         .flops_per_s = m.peaks.gpu_fp16_tflops_measured * 1e12});
  double all = 0;
  std::array<double, 3> exposed{};
  for (const GroupTime& g : t.groups) {
    all += g.seconds;
    exposed[g.group == GridGroup::tp ? 0 : g.group == GridGroup::pp ? 1 : 2] += g.exposed_s;
  }
  return fmt::format(
      "| {} | {} | {}·{}·{} | {} | {:.2f} | {:.2f} | {:.3f} | {:.3f} = {:.3f} + {:.3f} + "
      "{:.3f} "
      "| {:.1f} % |",
      row.model, row.nodes, row.grid.tp, row.grid.pp, row.grid.dp, batch, t.compute_s, t.bubble_s,
      all, t.exposed_s, exposed[0], exposed[1], exposed[2], 100 * t.share());
}

TEST(CommTime, TheTableIsWhatItSays) {
  const std::string page =
      read_text_file(std::filesystem::path(WEFT_SOURCE_DIR) / "kernels/communication.md");
  std::size_t n_lines = 0;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);)
    n_lines += line.starts_with("| GPT-2") || line.starts_with("| Llama");
  EXPECT_EQ(n_lines, rows_of_table().size());
  for (const Row& row : rows_of_table()) {
    const std::string line = line_of(row);
    EXPECT_NE(page.find(line + "\n"), std::string::npos) << "kernels/communication.md lacks\n"
                                                         << line;
  }
}

}  // namespace
}  // namespace weft
