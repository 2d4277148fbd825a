// Run logs made in a test: a folder with run.jsonl, line by line.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "core/json.h"

namespace weft::test {

namespace fs = std::filesystem;

struct StudyRun {
  int tp = 1, pp = 1, dp = 1;
  std::int64_t batch = 8;
  double tokens_per_s = 100;
  int steps = 8;
};

class LogFolder {
 public:
  explicit LogFolder(const std::string& name)
      : root_(fs::temp_directory_path() / ("weft_report_" + name)) {
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~LogFolder() { fs::remove_all(root_); }
  const fs::path& root() const { return root_; }
  std::string path(const std::string& run) const { return (root_ / run).string(); }

  void write(const std::string& run, const std::string& text) const {
    fs::create_directories(root_ / run);
    std::ofstream(root_ / run / "run.jsonl", std::ios::binary) << text;
  }

  // A start line as train writes it, and steps of one speed, the first three four times as slow.
  void write_study(const std::string& run, const StudyRun& r) const {
    std::string text = json_text(start(r)) + "\n";
    for (int step = 1; step <= r.steps; ++step)
      text += step_line(step, step <= 3 ? r.tokens_per_s / 4 : r.tokens_per_s);
    write(run, text + "{\"event\":\"end\",\"step\":8,\"reason\":\"done\"}\n");
  }

  static OrderedJson start(const StudyRun& r = {}) {
    return {{"event", "start"},
            {"log_version", 1},
            {"time", "2026-11-29T19:30:00Z"},
            {"commit", "abc123"},
            {"hosts", {"n1"}},
            {"grid", {{"tp", r.tp}, {"pp", r.pp}, {"dp", r.dp}}},
            {"model", {{"family", "gpt2"}, {"layers", 3}, {"width", 24}, {"context", 48}}},
            {"task", "clm"},
            {"parameters", 61'800},
            {"threads", 1},
            {"dtype", "fp32"},
            {"device", "cpu"},
            {"batch_size", r.batch},
            {"step", 0}};
  }

  static std::string step_line(std::int64_t step, double tokens_per_s, double loss = 5) {
    const OrderedJson line = {{"event", "step"},
                              {"step", step},
                              {"loss", loss},
                              {"tokens", 200},
                              {"step_s", 200 / tokens_per_s},
                              {"tokens_per_s", tokens_per_s},
                              {"mfu", tokens_per_s / 1000},
                              {"peak_share", tokens_per_s / 2000},
                              {"comm_bytes", 4096},
                              {"shares",
                               {{"forward", 0.25},
                                {"backward", 0.375},
                                {"comm", 0.125},
                                {"optimizer", 0.0625},
                                {"bubble", 0.125},
                                {"data", 0.03125},
                                {"other", 0.03125}}}};
    return json_text(line) + "\n";
  }

 private:
  fs::path root_;
};

}  // namespace weft::test
