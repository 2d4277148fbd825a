// What of the run log's lines becomes a chart.
#include "train/log_lines.h"

#include <gtest/gtest.h>

#include <map>

namespace weft {
namespace {

TEST(LogLines, ScalarsOfAStep) {
  StepReport report;
  report.step = 7;
  report.tokens = 100;
  report.seconds = 0.5;
  report.result = {.loss = 2.5, .grad_norm = 1.5};
  report.lr = 1e-3;
  report.speed = {.mfu = 0.4, .peak_share = 0.5};
  report.comm_bytes = 4096;
  report.shares[0] = 0.75;
  report.shares[2] = 0.25;
  const Scalars all = scalars_of(step_line(report));
  const std::map<std::string, double> by_tag(all.begin(), all.end());
  EXPECT_EQ(by_tag.size(), all.size());
  const std::map<std::string, double> expected = {
      {"loss", 2.5},          {"grad_norm", 1.5},    {"lr", 1e-3},
      {"step_s", 0.5},        {"tokens_per_s", 200}, {"mfu", 0.4},
      {"peak_share", 0.5},    {"comm_bytes", 4096},  {"shares/forward", 0.75},
      {"shares/backward", 0}, {"shares/comm", 0.25}, {"shares/optimizer", 0},
      {"shares/bubble", 0},   {"shares/data", 0},    {"shares/other", 0}};
  EXPECT_EQ(by_tag, expected);
}

// A perplexity past the largest double is no number in JSON, and no scalar.
TEST(LogLines, ScalarsOfAnEvaluation) {
  const Scalars all = scalars_of({{"event", "eval"},
                                  {"step", 8},
                                  {"loss", 2.0},
                                  {"perplexity", nullptr},
                                  {"accuracy", 0.5},
                                  {"samples", 10}});
  EXPECT_EQ(all, (Scalars{{"eval/loss", 2.0}, {"eval/accuracy", 0.5}}));
}

}  // namespace
}  // namespace weft
