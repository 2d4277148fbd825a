// Known speeds give known speed-ups; what belongs together is found.
#include <gtest/gtest.h>

#include "report/compare.h"
#include "report/scaling.h"
#include "tests/report/logs.h"

namespace {

using namespace weft::report;
using namespace weft;
using weft::test::LogFolder;
using weft::test::StudyRun;

TEST(Scaling, StrongAndWeakAreToldByTheBatch) {
  const LogFolder logs("scaling");
  logs.write_study("r1", {.batch = 8, .tokens_per_s = 100});
  logs.write_study("r2", {.tp = 2, .batch = 8, .tokens_per_s = 180});
  logs.write_study("r4", {.tp = 4, .batch = 8, .tokens_per_s = 300});
  logs.write_study("w2", {.dp = 2, .batch = 16, .tokens_per_s = 190});
  logs.write_study("w4", {.dp = 4, .batch = 32, .tokens_per_s = 360});
  const std::vector<weft::report::Run> runs = read_runs({logs.root().string()});
  const std::vector<Configuration> all = configurations(runs);
  const std::vector<ScalingStudy> studies = scaling_studies(all);
  ASSERT_EQ(studies.size(), 2u);
  EXPECT_FALSE(studies[0].weak);
  EXPECT_TRUE(studies[1].weak);
  ASSERT_EQ(studies[0].points.size(), 3u);
  EXPECT_DOUBLE_EQ(studies[0].points[1].speed_up.mean, 1.8);
  EXPECT_DOUBLE_EQ(studies[0].points[2].efficiency.mean, 0.75);
  ASSERT_EQ(studies[1].points.size(), 3u);
  EXPECT_DOUBLE_EQ(studies[1].points[2].speed_up.mean, 3.6);
  EXPECT_DOUBLE_EQ(studies[1].points[1].efficiency.mean, 0.95);
}

TEST(Scaling, RepeatsAreMeanAndDeviation) {
  const LogFolder logs("repeats");
  for (const auto& [name, speed] : {std::pair{"a-1", 90.0}, {"a-2", 100.0}, {"a-3", 110.0}})
    logs.write_study(name, {.tokens_per_s = speed});
  for (const auto& [name, speed] : {std::pair{"b-1", 150.0}, {"b-2", 170.0}})
    logs.write_study(name, {.tp = 2, .tokens_per_s = speed});
  const std::vector<weft::report::Run> runs = read_runs({logs.root().string()});
  const std::vector<Configuration> all = configurations(runs);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_DOUBLE_EQ(all[0].tokens_per_s.mean, 100);
  EXPECT_DOUBLE_EQ(all[0].tokens_per_s.sd, 10);
  const std::vector<ScalingStudy> studies = scaling_studies(all);
  ASSERT_EQ(studies.size(), 1u);
  EXPECT_DOUBLE_EQ(studies[0].points[1].speed_up.mean, 1.6);
  EXPECT_DOUBLE_EQ(studies[0].points[1].efficiency.sd, std::sqrt(200.0) / 100 / 2);
}

TEST(Scaling, OtherWorkIsAnotherStudy) {
  const LogFolder logs("other");
  logs.write_study("a", {.tokens_per_s = 100});
  logs.write_study("b", {.tp = 2, .batch = 12, .tokens_per_s = 180});
  const std::vector<weft::report::Run> runs = read_runs({logs.root().string()});
  EXPECT_TRUE(scaling_studies(configurations(runs)).empty());
}

TEST(Compare, LossesAndOptions) {
  const LogFolder logs("compare");
  const auto write = [&](const char* name, double lr, double third, double speed) {
    OrderedJson start = LogFolder::start();
    start["options"] = {{"lr", lr}, {"seed", 1}};
    std::string text = json_text(start) + "\n";
    for (int step = 1; step <= 6; ++step)
      text += LogFolder::step_line(step, speed, step == 3 ? third : 5.0 / step);
    logs.write(name, text);
  };
  write("a", 0.001, 2, 100);
  write("b", 0.002, 2.25, 150);
  std::vector<weft::report::Run> runs = read_runs({logs.path("a"), logs.path("b")});
  Comparison c = compare_runs(runs[0], runs[1]);
  EXPECT_DOUBLE_EQ(c.speed_ratio, 1.5);
  EXPECT_EQ(c.common, 6);
  EXPECT_EQ(c.equal, 5);
  EXPECT_EQ(c.largest, 0.25);
  EXPECT_EQ(c.largest_at, 3);
  EXPECT_EQ(c.first_unequal, 3);
  ASSERT_EQ(c.options.size(), 1u);
  EXPECT_EQ(c.options[0].name, "lr");
  EXPECT_EQ(c.options[0].second, "0.002");
  c = compare_runs(runs[0], runs[0]);
  EXPECT_EQ(c.equal, 6);
  EXPECT_EQ(c.largest, 0);
  EXPECT_TRUE(c.options.empty());
}

}  // namespace
