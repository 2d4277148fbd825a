// What the suites of the ledger share: a folder of the test's own, and a job of lines in it.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <iterator>

#include "core/check.h"
#include "io/ledger/assembly.h"

namespace weft::test {

namespace fs = std::filesystem;

inline void put(const fs::path& file, const std::string& content) {
  std::ofstream(file, std::ios::binary) << content;
}
inline std::string get(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// A process that does this and then is gone, as by SIGKILL.
inline void in_a_killed_process(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    body();
    ::_exit(0);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
}

class JobFolder : public testing::Test {
 protected:
  JobFolder() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = fs::temp_directory_path() / fmt::format("weft_ledger_{}_{}", ::getpid(), test->name());
    fs::create_directories(path_);
  }
  ~JobFolder() override { fs::remove_all(path_); }

  fs::path operator/(const std::string& name) const { return path_ / name; }
  fs::path out() const { return path_ / "o.jsonl"; }

  // Texts "text 0" to "text n-1" in t.txt, three a block.
  JobTerms terms(int n) const {
    std::string lines;
    for (int i = 0; i < n; ++i) lines += fmt::format("text {}\n", i);
    put(path_ / "t.txt", lines);
    JobTerms terms;
    terms.out = out();
    terms.what = "--out o.jsonl";
    terms.identity = {{"the command", "score"}, {"--top-k", "5"}};
    terms.input = path_ / "t.txt";
    terms.first = {.most = 3, .sharers = 0};
    return terms;
  }

  static std::string line_of(const Document& d) { return fmt::format("{{\"of\":\"{}\"}}", d.text); }
  static std::string lines_of_all(int n) {
    std::string lines;
    for (int i = 0; i < n; ++i) lines += fmt::format("{{\"of\":\"text {}\"}}\n", i);
    return lines;
  }

  // Puts a result for each text from `from` on that has none; up to `most` of them.
  static void serve(Ledger& ledger, OpenBlock& block, std::size_t most = 1000) {
    for (std::size_t d = 0; d < block.texts.documents.size() && most > 0; ++d) {
      const RecordPlace place = {static_cast<std::int64_t>(d), 0};
      if (block.records.contains(place)) continue;
      --most;
      ledger.put(block, place, {.new_tokens = 2, .line = line_of(block.texts.documents[d])});
    }
  }

  std::unique_ptr<Ledger> ledger() const {
    return std::make_unique<Ledger>(out(), "--out o.jsonl", ReadOptions(),
                                    LockTimes{.wait_s = 1, .watch_s = 0.5, .beat_s = 0.1});
  }

 private:
  fs::path path_;
};

}  // namespace weft::test
