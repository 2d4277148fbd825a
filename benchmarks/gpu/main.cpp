// weft_gpu_bench: every op of kernels/ops.h on one GPU, one JSON line a case; or the launches of
// every case, without running them.
#include <regex.h>  // std::regex is not free of warnings under GCC 12's sanitizers
#include <CLI/CLI.hpp>

#include <cstdio>
#include <memory>

#include "core/check.h"
#include "core/json.h"
#include "measure.h"

namespace weft::gpu_bench {
namespace {

void print(const nlohmann::ordered_json& line) {
  std::puts(json_text(line).c_str());
  std::fflush(stdout);  // what has been measured stays when a time limit ends the program
}

std::vector<Case> chosen(const std::string& pattern) {
  std::vector<Case> cases = standard_cases();
  regex_t regex;
  CHECK_USER(regcomp(&regex, pattern.c_str(), REG_EXTENDED | REG_NOSUB) == 0,
             "--cases '{}' is not a regular expression", pattern);
  const std::unique_ptr<regex_t, decltype(&regfree)> owner(&regex, regfree);
  if (!pattern.empty())
    std::erase_if(
        cases, [&](const Case& c) { return regexec(&regex, c.name.c_str(), 0, nullptr, 0) != 0; });
  CHECK_USER(!cases.empty(), "--cases '{}': no case is named so; --launches names them", pattern);
  return cases;
}

int run(int argc, char** argv) {
  CLI::App app("Times the ops of kernels/ops.h on a GPU, one JSON line a case");
  bool launches = false;
  std::string pattern;
  double limit_s = 1e9;
  app.add_flag("--launches", launches, "list the launches of every case instead, running none");
  app.add_option("--cases", pattern,
                 "only the cases whose name this regular expression is found in");
  app.add_option("--seconds", limit_s, "begin no case after so many seconds")
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  const std::vector<Case> cases = chosen(pattern);
  if (launches) return list_launches(cases, print), 0;
  const std::vector<std::string> left = measure(cases, limit_s, print);
  for (const std::string& name : left)
    std::fprintf(stderr, "not measured, %g s have passed: %s\n", limit_s, name.c_str());
  return 0;
}

}  // namespace
}  // namespace weft::gpu_bench

int main(int argc, char** argv) {
  try {
    return weft::gpu_bench::run(argc, argv);
  } catch (const weft::UserError& e) {
    std::fprintf(stderr, "weft_gpu_bench: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "weft_gpu_bench: %s\n", e.what());
    return 1;
  }
}
