// Reads damaged files in a process of its own, with a limit on memory and time, so that one crash
// neither hides the others nor its number.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include "core/check.h"
#include "tests/fuzz/mutants.h"

namespace weft::test {

namespace fs = std::filesystem;

inline constexpr std::uint64_t kMutants =
    400;  // WEFT_FUZZ_MUTANTS in the environment asks for another number
#ifdef __SANITIZE_ADDRESS__
inline constexpr bool kLimitsMemory = false;  // its shadow takes terabytes of address space
#else
inline constexpr bool kLimitsMemory = true;
#endif
inline constexpr rlim_t kMemoryBytes =
    rlim_t{1} << 31;  // address space; a reader of these small files takes some MB
inline constexpr unsigned kSeconds = 20;  // for one file

// What the reading process tells, also when it dies.
struct Report {
  std::atomic<std::uint64_t> number;
  std::atomic<int> read, refused, wrong;
  char message[512];
};

inline std::string get(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::uint64_t n_mutants() {
  const char* asked = std::getenv("WEFT_FUZZ_MUTANTS");
  return asked ? std::strtoull(asked, nullptr, 10) : kMutants;
}

inline void put(const fs::path& file, const std::string& content) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
}

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "weft_fuzz_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

using Mutant = std::function<std::string(std::uint64_t)>;  // number i of a file

inline void read_all(Report& report, const Mutant& mutant, std::uint64_t n, const fs::path& file,
                     const std::function<void()>& read) {
  const rlimit limit = {kMemoryBytes, kMemoryBytes}, no_core = {0, 0};
  if (kLimitsMemory) setrlimit(RLIMIT_AS, &limit);
  setrlimit(RLIMIT_CORE, &no_core);
  for (; report.number < n; ++report.number) {
    put(file, mutant(report.number));
    alarm(kSeconds);
    try {
      read();
      ++report.read;
    } catch (const UserError& error) {
      ++report.refused;
    } catch (const std::exception& error) {
      if (report.wrong++ == 0)
        std::snprintf(report.message, sizeof report.message, "file %d: %s",
                      static_cast<int>(report.number), error.what());
    }
  }
}

// Reads every mutant of `file`; each number that kills the process is a failure, and reading goes
// on behind it.
inline void fuzz(const fs::path& file, const Mutant& mutant, std::uint64_t n,
                 const std::function<void()>& read) {
  ASSERT_NO_THROW(read()) << "the valid file is refused";
  void* memory =
      mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto& report = *new (memory) Report{};
  for (int deaths = 0; report.number < n && deaths < 10;) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      read_all(report, mutant, n, file, read);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
    ADD_FAILURE() << "file " << report.number
                  << (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? " hangs its reader"
                                                                         : " kills its reader")
                  << ", signal " << (WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    ++deaths;
    ++report.number;
  }
  std::printf("%d files read, %d refused\n", report.read.load(), report.refused.load());
  EXPECT_EQ(report.wrong, 0) << "not a UserError: " << report.message;
  EXPECT_GT(report.refused, static_cast<int>(n / 20)) << "the damage is not noticed";
  munmap(memory, sizeof(Report));
}

inline void fuzz(const fs::path& file, bool is_text, const std::function<void()>& read) {
  Mutator mutator(get(file), is_text);
  fuzz(
      file, [&](std::uint64_t number) { return mutator.mutant(number); }, n_mutants(), read);
}

}  // namespace weft::test
