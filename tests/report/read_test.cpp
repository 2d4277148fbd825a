// Logs as they are found and read: what counts, what is damaged, what is refused.
#include <gtest/gtest.h>

#include <cmath>

#include "core/check.h"
#include "report/run.h"
#include "tests/report/logs.h"

namespace {

using namespace weft::report;
using namespace weft;
using weft::test::LogFolder;

const std::string kStart = json_text(LogFolder::start()) + "\n";

TEST(ReadRun, MediansLeaveOutTheFirstThreeStepsOfEachStart) {
  const LogFolder logs("medians");
  std::string text = kStart;
  for (const int speed : {1, 2, 3, 100, 300, 200}) {
    static int step = 0;
    text += LogFolder::step_line(++step, speed);
  }
  OrderedJson again = LogFolder::start();
  again["step"] = 5;  // step 6 is done again
  text += json_text(again) + "\n" + LogFolder::step_line(6, 1) + LogFolder::step_line(7, 1) +
          LogFolder::step_line(8, 1) + LogFolder::step_line(9, 500);
  logs.write("run", text);
  const auto run = read_run(logs.path("run/run.jsonl"));
  ASSERT_EQ(run.steps.size(), 9u);
  EXPECT_EQ(run.starts, 2);
  EXPECT_DOUBLE_EQ(run.tokens_per_s(), 300);  // of 100, 300, 500
  EXPECT_DOUBLE_EQ(run.lost_s, 1);            // 200 tokens at 200 a second
  EXPECT_DOUBLE_EQ(run.lost_tokens, 200);
  EXPECT_DOUBLE_EQ(run.mfu(), 0.3);
}

TEST(ReadRun, TheLastLineOfAStepCountsAndTimeIsOfAllStarts) {
  const LogFolder logs("twice");
  OrderedJson resumed = LogFolder::start();
  resumed["step"] = 1;
  resumed["nodes"] = 2;
  resumed["resumed"] = {{"from", "x"}, {"step", 1}, {"lost_tokens", 7}, {"lost_s", 2.5}};
  logs.write("run",
             kStart + LogFolder::step_line(1, 10, 5) + LogFolder::step_line(2, 10, 4) +
                 "{\"event\":\"end\",\"step\":2,\"reason\":\"signal\",\"elapsed_s\":1800}\n" +
                 json_text(resumed) + "\n" + LogFolder::step_line(2, 10, 3.5) +
                 "{\"event\":\"end\",\"step\":2,\"reason\":\"done\",\"elapsed_s\":3600}\n");
  const auto run = read_run(logs.path("run/run.jsonl"));
  EXPECT_EQ(run.steps.size(), 2u);
  EXPECT_EQ(run.loss(), 3.5);
  EXPECT_EQ(run.lost_s, 2.5);
  EXPECT_EQ(run.lost_tokens, 7);
  EXPECT_DOUBLE_EQ(run.elapsed_s, 5400);
  EXPECT_DOUBLE_EQ(run.node_hours, 0.5 + 2);
  EXPECT_TRUE(std::isnan(run.tokens_per_s())) << "no step is warm";
  EXPECT_EQ(run.end, "done");
}

TEST(ReadRun, OlderLogsLackFields) {
  const LogFolder logs("older");
  logs.write(
      "run",
      R"({"event":"start","version":"0.1.0","hosts":["a","b"],"grid":{"tp":2,"pp":1,"dp":3},)"
      R"("model":{"family":"gpt2","layers":3,"width":24,"context":48},"run":{"batch_size":6},)"
      R"("parameters":10,"threads":1,"dtype":"fp32","step":0})"
      "\n" +
          LogFolder::step_line(1, 100));
  const auto run = read_run(logs.path("run/run.jsonl"));
  EXPECT_FALSE(run.damaged());
  EXPECT_EQ(run.ranks, 6);
  EXPECT_EQ(run.nodes, 2);
  EXPECT_EQ(run.batch_size, 6);
  EXPECT_EQ(run.model, "gpt2-3x24");
  EXPECT_EQ(run.device, "");
  EXPECT_DOUBLE_EQ(run.node_hours, 2 * 2.0 / 3600) << "by its steps";
}

TEST(ReadRun, ATornLastLineIsIgnoredAndOneWithoutItsEndRead) {
  const LogFolder logs("torn");
  const std::string step = LogFolder::step_line(2, 100, 3);
  logs.write("torn", kStart + LogFolder::step_line(1, 100) + step.substr(0, step.size() / 2));
  EXPECT_EQ(read_run(logs.path("torn/run.jsonl")).steps.size(), 1u);
  logs.write("whole", kStart + LogFolder::step_line(1, 100) + step.substr(0, step.size() - 1));
  EXPECT_EQ(read_run(logs.path("whole/run.jsonl")).steps.size(), 2u);
}

TEST(ReadRun, DamageIsNamed) {
  const LogFolder logs("damage");
  const auto problem = [&](const std::string& text) {
    logs.write("run", text);
    return read_run(logs.path("run/run.jsonl")).problem;
  };
  EXPECT_EQ(problem(kStart + "{\"event\":\n" + LogFolder::step_line(1, 1)), "line 2 is not JSON");
  EXPECT_EQ(problem(""), "it has no start line");
  EXPECT_EQ(problem("{\"torn"), "it has no start line");
  EXPECT_EQ(problem(LogFolder::step_line(1, 1)), "line 1 comes before a start line");
  EXPECT_EQ(problem("[1, 2]\n"), "line 1 has no event");
  EXPECT_EQ(problem(kStart + "{\"event\":\"step\",\"step\":\"x\"}\n"),
            "line 2 is a step without its number");
  EXPECT_NE(problem("\xFF\xFE{\0\n"), "");
}

TEST(ReadRun, WhateverAFieldHoldsIsNoFailure) {
  const LogFolder logs("hostile");
  logs.write(
      "run",
      R"({"event":"start","grid":[],"model":7,"hosts":{"a":1},"threads":-4,"step":-1,)"
      R"("parameters":1e300,"options":[],"machine":false,"peaks":"x","commit":{},"nodes":1.5})"
      "\n"
      R"({"event":"step","step":1,"loss":null,"tokens_per_s":-5,"step_s":0,"shares":[1]})"
      "\n"
      R"({"event":"step","step":2,"loss":1e308,"shares":{"forward":2}})"
      "\n"
      R"({"event":"eval","step":{},"loss":[]})"
      "\n"
      R"({"event":"unheard of","x":1})"
      "\n");
  const auto run = read_run(logs.path("run/run.jsonl"));
  EXPECT_FALSE(run.damaged());
  EXPECT_EQ(run.parameters, -1);
  EXPECT_EQ(run.nodes, -1);
  EXPECT_TRUE(std::isnan(run.loss()));
  StepShares shares{};
  EXPECT_FALSE(run.shares(shares));
}

TEST(ReadRun, SharesAreOfTheTimeAndSumToOne) {
  const LogFolder logs("shares");
  logs.write_study("run", {});
  StepShares shares{};
  ASSERT_TRUE(read_run(logs.path("run/run.jsonl")).shares(shares));
  double sum = 0;
  for (const double s : shares) sum += s;
  EXPECT_DOUBLE_EQ(sum, 1);
  EXPECT_DOUBLE_EQ(shares[0], 0.25);
}

TEST(ReadRun, ATextJobTellsItsEndOrItsLastProgress) {
  const LogFolder logs("text");
  const std::string start =
      R"({"event":"start","log_version":1,"what":"generate","ranks":2,"nodes":1})"
      "\n";
  const std::string progress =
      R"({"event":"progress","elapsed_s":2,"items":4,"prompt_tokens":40,"new_tokens":60})"
      "\n";
  logs.write("stopped", start + progress);
  const auto stopped = read_run(logs.path("stopped/run.jsonl"));
  EXPECT_DOUBLE_EQ(stopped.tokens_per_s(), 50);
  EXPECT_DOUBLE_EQ(stopped.text.new_tokens_per_s, 30);
  EXPECT_DOUBLE_EQ(stopped.tokens_per_s_rank(), 25);
  ASSERT_EQ(stopped.progress.size(), 1u);
  EXPECT_EQ(stopped.progress[0].tokens, 100);
  logs.write("done",
             start + progress +
                 R"({"event":"end","reason":"done","elapsed_s":4,"items":8,"tokens_per_s":70,)"
                 R"("inter_token_s":{"p50":0.01,"p95":0.02,"p99":0.03},"peak_share":0.5})"
                 "\n");
  const auto done = read_run(logs.path("done/run.jsonl"));
  EXPECT_EQ(done.tokens_per_s(), 70);
  EXPECT_EQ(done.text.inter_token_s.p99, 0.03);
  EXPECT_TRUE(std::isnan(done.text.ttft_s.p50));
  EXPECT_EQ(done.peak_share(), 0.5);
}

TEST(FindRuns, AFolderOfRunsIsInNaturalOrderAndNamesAreUnlike) {
  const LogFolder logs("order");
  for (const char* name : {"s/run10", "s/run2", "s/run1", "t/run2"}) logs.write_study(name, {});
  std::filesystem::create_directories(logs.root() / "s" / "data");
  const auto names = [](const std::vector<weft::report::Run>& runs) {
    std::vector<std::string> list;
    for (const weft::report::Run& run : runs) list.push_back(run.name);
    return list;
  };
  EXPECT_EQ(names(read_runs({logs.path("s")})),
            (std::vector<std::string>{"run1", "run2", "run10"}));
  const std::string other = logs.path("t/run2/run.jsonl");
  EXPECT_EQ(names(read_runs({other, logs.path("s")})),
            (std::vector<std::string>{other, "run1", logs.path("s/run2"), "run10"}));
  EXPECT_TRUE(natural_less("a9b", "a10"));
  EXPECT_TRUE(natural_less("a09", "a10"));
  EXPECT_FALSE(natural_less("a", "a"));
  EXPECT_TRUE(natural_less("a1", "a01") != natural_less("a01", "a1")) << "one comes first";
}

TEST(FindRuns, WhatIsNoRunIsRefused) {
  const LogFolder logs("refused");
  const auto refusal = [](const std::string& path) {
    const auto failure = failure_of([&] { read_runs({path}); });
    EXPECT_TRUE(failure && failure->kind == FailureKind::user) << path;
    return failure ? failure->text : "";
  };
  EXPECT_NE(refusal(logs.path("none")).find("no such run folder or log"), std::string::npos);
  std::filesystem::create_directories(logs.root() / "empty");
  EXPECT_NE(refusal(logs.path("empty")).find("holds no run.jsonl"), std::string::npos);
  logs.write("later", "{\"event\":\"start\",\"log_version\":2}\n");
  EXPECT_NE(refusal(logs.path("later")).find("of version 2; this program reads version 1"),
            std::string::npos);
}

}  // namespace
