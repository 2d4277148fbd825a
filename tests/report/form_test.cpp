// What a reader sees: numbers, tables, pages, charts; and that no name is markup.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <regex>

#include "report/amounts.h"
#include "report/axis.h"
#include "report/chart.h"
#include "report/report.h"
#include "report/rows.h"
#include "tests/report/logs.h"

namespace {

using namespace weft::report;
using namespace weft;
using weft::test::LogFolder;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return lines;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Three grids, one with a repeat, a damaged run, and one whose names are markup.
struct Study {
  Study() : logs("forms") {
    logs.write_study("n1", {.tokens_per_s = 100});
    logs.write_study("n2", {.tp = 2, .tokens_per_s = 180});
    logs.write_study("n2-again", {.tp = 2, .tokens_per_s = 190});
    logs.write_study("n4", {.tp = 2, .pp = 2, .tokens_per_s = 300});
    logs.write("n5-damaged", "{\"event\":\n");
    OrderedJson start = LogFolder::start();
    start["options"] = {{"model", "<script>alert(1)<b>"}};
    start["command"] = "weft train --out '```</pre><script>alert(2)</script>'";
    std::string text = json_text(start) + "\n";
    for (int step = 1; step <= 6; ++step) text += LogFolder::step_line(step, 50);
    logs.write("n6,\"<script>alert(3)<|`b`", text);
    runs = read_runs({logs.root().string()});
  }
  LogFolder logs;
  std::vector<weft::report::Run> runs;
};

TEST(Amounts, AreShortAndHaveUnits) {
  EXPECT_EQ(grouped(1'234'567), "1,234,567");
  EXPECT_EQ(grouped(-1234), "-1,234");
  EXPECT_EQ(significant(0.012345, 3), "0.0123");
  EXPECT_EQ(significant(12345.6, 4), "12,346");
  EXPECT_EQ(with_prefix(61'800, ""), "61.8 k");
  EXPECT_EQ(bytes_text(4096), "4.10 kB");
  EXPECT_EQ(bytes_text(999'999), "1.00 MB");
  EXPECT_EQ(bytes_text(12), "12 B");
  EXPECT_EQ(seconds_text(0.0042), "4.20 ms");
  EXPECT_EQ(seconds_text(3900), "65 min");
  EXPECT_EQ(seconds_text(9000), "2 h 30 min");
  EXPECT_EQ(percent(0.1234), "12.3 %");
  EXPECT_EQ(percent(kUnknown), kNothing);
  EXPECT_EQ(shortened("abcdefghij", 5), "ab…ij");
  EXPECT_EQ(columns_of("日本"), 4u);
}

TEST(Amounts, PrintedSharesSumToAHundred) {
  for (const std::vector<double>& shares : {std::vector<double>{1, 1, 1},
                                            {0.3333, 0.3333, 0.3334},
                                            {0.00049, 0.99951},
                                            {7},
                                            {1, 2, 3, 4, 5, 6, 7}}) {
    int sum = 0;
    for (const int t : tenths_of_percent(shares)) sum += t;
    EXPECT_EQ(sum, 1000);
  }
  EXPECT_EQ(tenths_of_percent({1, 1, 1}), (std::vector<int>{334, 333, 333}));
  EXPECT_EQ(tenths_text(1000), "100.0");
}

TEST(Axes, HaveRoundTicks) {
  EXPECT_EQ(round_step(10, 5), 2);
  EXPECT_EQ(round_step(0.7, 6), 0.2);
  Axis axis;
  axis.fit({3, 17}, 6);
  EXPECT_EQ(axis.low, 0);
  EXPECT_EQ(axis.high, 20);
  EXPECT_EQ(axis.ticks.size(), 5u);
  EXPECT_EQ(axis.at(10), 0.5);
  axis.fit({5, 5, kUnknown}, 6);
  EXPECT_LT(axis.low, axis.high) << "one value has an axis too";
  EXPECT_TRUE(axis.at(5) > 0 && axis.at(5) < 1);
  Axis ranks;
  ranks.powers_of_two = true;
  ranks.fit({1, 3, 8}, 8);
  EXPECT_EQ(ranks.ticks, (std::vector<double>{1, 2, 4, 8}));
  EXPECT_DOUBLE_EQ(ranks.at(2), 1.0 / 3);
  Axis tokens;
  tokens.fit({0, 43'210}, 5);
  EXPECT_EQ(tokens.label(20'000), "20 k");
}

TEST(Charts, ThousandsOfStepsKeepTheirExtremes) {
  Points points;
  for (int i = 0; i < 50'000; ++i) points.emplace_back(i, i == 31'415 ? 99 : i % 7);
  points[777].second = -5;
  const Points few = decimated(points, 300);
  EXPECT_LE(few.size(), 1200u);
  EXPECT_EQ(few.front(), points.front());
  EXPECT_EQ(few.back(), points.back());
  const auto has = [&](double y) {
    return std::any_of(few.begin(), few.end(), [&](const auto& p) { return p.second == y; });
  };
  EXPECT_TRUE(has(99) && has(-5));
  EXPECT_TRUE(std::is_sorted(few.begin(), few.end(),
                             [](const auto& a, const auto& b) { return a.first < b.first; }));
}

TEST(Charts, DrawNothingOfNothingAndBreakAtGaps) {
  LineChart chart;
  chart.title = "loss";
  EXPECT_EQ(draw(chart, "c1"), "");
  chart.series.push_back({"a", {{0, kUnknown}, {1, kUnknown}}, 0, true, false, true, {}});
  EXPECT_EQ(draw(chart, "c1"), "");
  Points points;
  for (int i = 0; i < 40; ++i) points.emplace_back(i, i == 20 ? kUnknown : 1e30 * i);
  chart.series[0].points = points;
  const std::string svg = draw(chart, "c1");
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = svg.find("class=\"line\"", at)) != std::string::npos; ++at)
    ++lines;
  EXPECT_EQ(lines, 2u);
  EXPECT_FALSE(std::regex_search(svg, std::regex("[\" ,-](nan|inf)")));
}

TEST(Forms, TheCsvHeaderIsTheContract) {
  const Study study;
  const std::string csv = report_of(study.runs, ReportForm::csv);
  const std::vector<std::string> lines = lines_of(csv);
  ASSERT_EQ(lines.size(), 7u);
  EXPECT_EQ(lines[0],
            "run,site,machine,date,commit,model,parameters,context,batch_size,tp,pp,dp,ranks,nodes,"
            "threads,device,dtype,steps,loss,tokens_per_s,tokens_per_s_device,mfu,peak_share,"
            "node_hours,forward,backward,comm,optimizer,bubble,data,other");
  EXPECT_TRUE(lines[2].starts_with(
      "n2,,,2026-11-29T19:30:00Z,abc123,gpt2-3x24,61800,48,8,2,1,1,2,1,1,cpu,fp32,8,5.0,180.0,90.0,"
      "0.18,0.09,"))
      << lines[2];
  double sum = 0;  // of the last seven
  std::string rest = lines[2];
  for (int i = 0; i < 7; ++i, rest.erase(rest.rfind(',')))
    sum += std::stod(rest.substr(rest.rfind(',') + 1));
  EXPECT_NEAR(sum, 1, 1e-12);
  EXPECT_EQ(lines[5], "n5-damaged (damaged: line 1 is not JSON)" + std::string(30, ','));
  EXPECT_TRUE(lines[6].starts_with("\"n6,\"\"<script>alert(3)<|`b`\",")) << lines[6];
}

TEST(Forms, JsonHasTheSameFields) {
  const Study study;
  const std::vector<std::string> lines = lines_of(report_of(study.runs, ReportForm::json_lines));
  ASSERT_EQ(lines.size(), 6u);
  const Json row = parse_json(lines[0]);
  EXPECT_EQ(row.size(), 31u);
  EXPECT_EQ(row["tokens_per_s"], 100.0);
  EXPECT_TRUE(row["site"].is_null());
  EXPECT_EQ(parse_json(lines[4])["damaged"], "line 1 is not JSON");
}

TEST(Forms, TextFitsAHundredColumnsAndNamesTheDamaged) {
  const Study study;
  const std::string text = report_of(study.runs, ReportForm::text);
  for (const std::string& line : lines_of(text)) EXPECT_LE(columns_of(line), 100u) << line;
  EXPECT_TRUE(holds(text, "Strong scaling")) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("n5-damaged +damaged: line 1 is not JSON")));
  EXPECT_TRUE(std::regex_search(text, std::regex(R"(tp 2 × pp 1 × dp 1 .*1\.85 ± 0\.07)"))) << text;
}

TEST(Forms, EveryRowOfSharesSumsToAHundred) {
  const LogFolder logs("thirds");
  std::string text = json_text(LogFolder::start()) + "\n";
  for (int step = 1; step <= 5; ++step)
    text += fmt::format(
        R"({{"event":"step","step":{},"step_s":1,"tokens":10,"shares":{{"forward":0.1111,)"
        R"("backward":0.2222,"comm":0.3333,"optimizer":0.0004,"bubble":0.1111,"data":0.1111,)"
        R"("other":0.1108}}}})"
        "\n",
        step);
  logs.write("run", text);
  const std::vector<std::string> lines =
      lines_of(report_of(read_runs({logs.path("run")}), ReportForm::text));
  const auto at = std::find_if(lines.begin(), lines.end(),
                               [](const std::string& line) { return holds(line, "compute %"); });
  ASSERT_TRUE(at != lines.end() && at + 1 != lines.end());
  std::vector<double> cells;
  static const std::regex number(R"(\d+\.\d)");
  const std::string row = *(at + 1);
  for (std::sregex_iterator it(row.begin(), row.end(), number), end; it != end; ++it)
    cells.push_back(std::round(10 * std::stod(it->str())));
  ASSERT_EQ(cells.size(), 9u) << row;  // compute, its three parts, four others, the sum
  EXPECT_EQ(cells[1] + cells[2] + cells[3], cells[0]) << row;
  EXPECT_EQ(cells[0] + cells[4] + cells[5] + cells[6] + cells[7], 1000) << row;
  EXPECT_EQ(cells[8], 1000) << row;
}

TEST(Forms, NoNameIsMarkup) {
  const Study study;
  const std::string html = report_of(study.runs, ReportForm::html);
  EXPECT_FALSE(holds(html, "<script"));
  EXPECT_TRUE(holds(html, "&lt;script&gt;alert(1)"));
  EXPECT_TRUE(holds(html, "&lt;script&gt;alert(3)"));
  const std::string markdown = report_of(study.runs, ReportForm::markdown);
  EXPECT_TRUE(holds(markdown, "alert(3)&lt;\\|\\`b\\`")) << markdown;
  EXPECT_TRUE(holds(markdown, "\n````\n# n1") || holds(markdown, "\n````\n# n6")) << markdown;
}

TEST(Forms, ThePageNeedsNoOtherFile) {
  const Study study;
  const std::string html = report_of(study.runs, ReportForm::html);
  for (const char* word : {"http", "src=", "@import", "<link", "<iframe",
                           " on"
                           "click"})
    EXPECT_FALSE(holds(html, word)) << word;
  EXPECT_GE(std::count(html.begin(), html.end(), '\n'), 50);
  for (const char* part :
       {"prefers-color-scheme: dark", "@media print", "Speed-up at constant work",
        "Shares of the time", "ideal", "stroke-dasharray", "<pattern"})
    EXPECT_TRUE(holds(html, part)) << part;
  std::size_t opened = 0, closed = 0;
  for (std::size_t at = 0; (at = html.find("<svg", at)) != std::string::npos; ++at) ++opened;
  for (std::size_t at = 0; (at = html.find("</svg>", at)) != std::string::npos; ++at) ++closed;
  EXPECT_EQ(opened, closed);
  EXPECT_GE(opened, 6u);
  EXPECT_EQ(html, report_of(study.runs, ReportForm::html)) << "the same runs, the same page";
}

TEST(Forms, NotesSayWhatARunWentThrough) {
  const LogFolder logs("notes");
  OrderedJson again = LogFolder::start();
  again["step"] = 4;
  std::string text = json_text(LogFolder::start()) + "\n";
  for (int step = 1; step <= 6; ++step) text += LogFolder::step_line(step, 100);
  text += "{\"event\":\"save\",\"step\":6,\"seconds\":3}\n";
  text += json_text(again) + "\n" + LogFolder::step_line(5, 100);
  logs.write("run", text + "{\"event\":\"end\",\"reason\":\"walltime\"}\n");
  const std::string report = report_of(read_runs({logs.path("run")}), ReportForm::markdown);
  EXPECT_TRUE(holds(report,
                    "run: started 2 times, steps done twice cost 4.00 s and 400 tokens; stopped "
                    "early, before its walltime ended; 1 save took 3.00 s, 21.4 % of the time."))
      << report;
}

OrderedJson start_on(const std::string& machine, const std::string& cpu,
                     std::vector<std::string> at, double peak, std::int64_t step = 0) {
  OrderedJson start = LogFolder::start();
  start["machine"] = {{"name", machine}, {"site", machine + "'s site"}};
  start["cpu"] = cpu;
  start["hosts"] = std::move(at);
  start["peaks"] = {{"matmul_flops", peak}};
  start["job"] = {{"queue", machine + "-queue"}};
  start["step"] = step;
  return start;
}

std::string machines_of(const std::vector<weft::report::Run>& runs) {
  const std::string text = report_of(runs, ReportForm::markdown);
  const std::size_t at = text.find("## Machines");
  return at == std::string::npos ? "" : text.substr(at, text.find("\n## ", at) - at);
}

TEST(Forms, EachRunHasTheFactsOfItsOwnMachine) {
  const LogFolder logs("machines");
  logs.write("a", json_text(start_on("polaris", "EPYC 7543P", {"x1"}, 1e12)) + "\n" +
                      LogFolder::step_line(1, 100));
  logs.write("b", json_text(start_on("sophia", "EPYC 7742", {"s1", "s2"}, 4e12)) + "\n" +
                      LogFolder::step_line(1, 100));
  const std::string text = machines_of(read_runs({logs.root().string()}));
  EXPECT_TRUE(std::regex_search(
      text, std::regex("\\| a +\\| polaris +\\| polaris's site +\\| x1 +\\| +1 +\\| EPYC 7543P +\\|"
                       " +1.00 TFLOP/s +\\| polaris-queue +\\|")))
      << text;
  EXPECT_TRUE(std::regex_search(
      text,
      std::regex("\\| b +\\| sophia +\\| sophia's site +\\| s1, s2 +\\| +2 +\\| EPYC 7742 +\\|"
                 " +4.00 TFLOP/s +\\| sophia-queue +\\|")))
      << text;
}

TEST(Forms, StartsOnSeveralMachinesHaveARowEach) {
  const LogFolder logs("moved");
  std::string text;
  for (const auto& [start, step] : std::vector<std::pair<OrderedJson, std::int64_t>>{
           {start_on("polaris", "EPYC 7543P", {"x1"}, 1e12), 1},
           {start_on("sophia", "EPYC 7742", {"s1"}, 4e12, 1), 2},
           {start_on("polaris", "EPYC 7543P", {"x2"}, 2e12, 2), 3}})
    text += json_text(start) + "\n" + LogFolder::step_line(step, 100);
  logs.write("a", text);
  const auto runs = read_runs({logs.root().string()});
  const std::string machines = machines_of(runs);
  EXPECT_TRUE(std::regex_search(
      machines, std::regex("\\| a, starts 1, 3 +\\| polaris +\\| polaris's site +\\| x1, x2 +\\|"
                           " EPYC 7543P +\\| +2.00 TFLOP/s")))
      << machines;
  EXPECT_TRUE(std::regex_search(
      machines,
      std::regex("\\| a, start 2 +\\| sophia +\\| sophia's site +\\| s1 +\\| EPYC 7742 +\\|"
                 " +4.00 TFLOP/s")))
      << machines;
  EXPECT_TRUE(holds(machines, "The run: nodes 1"));
  EXPECT_TRUE(holds(report_of(runs, ReportForm::text),
                    "its starts were on polaris, then sophia, and its speeds are medians"));
}

TEST(Forms, TwoRunsAreCompared) {
  const LogFolder logs("two");
  logs.write_study("a", {.tokens_per_s = 100});
  logs.write_study("b", {.tp = 2, .tokens_per_s = 150});
  const std::string text = report_of(read_runs({logs.path("a"), logs.path("b")}), ReportForm::text);
  EXPECT_TRUE(holds(text, "1.500 times as many")) << text;
  EXPECT_TRUE(holds(text, "The losses of all 8 common steps are equal to the bit")) << text;
  EXPECT_TRUE(std::regex_search(text, std::regex("\ntp +1 +2\n"))) << text;
}

}  // namespace
