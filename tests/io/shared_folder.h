// A folder of the test's own, the same on every rank, and what the tests of io/ say about errors.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "comm/agreement.h"
#include "core/check.h"
#include "tests/mpi_main.h"

namespace weft::test {

// Made by rank 0 before, and removed by it after, all ranks use it. Every rank must make it alike.
class SharedFolder {
 public:
  SharedFolder() : world_(test_mpi().world()) {
    std::int64_t process = world_->rank() == 0 ? ::getpid() : 0;
    process = world_->all_reduce_value(process, ReduceOp::max, stream_);
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    std::string name = fmt::format("weft_{}_{}_{}", process, test->test_suite_name(), test->name());
    std::replace(name.begin(), name.end(), '/', '_');
    path_ = std::filesystem::temp_directory_path() / name;
    if (rank() == 0) std::filesystem::create_directories(path_);
    barrier();
  }
  ~SharedFolder() {
    barrier();
    std::error_code ignored;
    if (rank() == 0) std::filesystem::remove_all(path_, ignored);
  }
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }
  // A folder for this rank alone.
  std::filesystem::path mine() const {
    const auto folder = path_ / fmt::format("rank{}", rank());
    std::filesystem::create_directories(folder);
    return folder;
  }
  int rank() const { return world_->rank(); }
  int size() const { return world_->size(); }
  void barrier() const { world_->barrier(); }
  Communicator& world() const { return *world_; }
  Stream& stream() const { return stream_; }
  void throw_together(const std::optional<weft::Failure>& mine) const {
    weft::throw_together(*world_, mine, stream_);
  }
  std::int64_t sum(std::int64_t x) { return world_->all_reduce_value(x, ReduceOp::sum, stream_); }

 private:
  std::unique_ptr<Communicator> world_;
  mutable Stream stream_;
  std::filesystem::path path_;
};

inline void put(const std::filesystem::path& file, std::string_view content) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  ASSERT_TRUE(out.good()) << file;
}

inline std::string get(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::int64_t n_entries(const std::filesystem::path& folder) {
  return std::distance(std::filesystem::directory_iterator(folder),
                       std::filesystem::directory_iterator());
}

// `call` must throw a UserError whose sentence holds every one of `words`.
template <class Call>
void expect_user_error(Call&& call, std::initializer_list<std::string> words) {
  try {
    call();
    ADD_FAILURE() << "no error was thrown; expected one with: " << *words.begin();
  } catch (const UserError& error) {
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << "no '" << word << "' in: " << error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not a UserError: " << error.what();
  }
}

// Damage of one kind each: bits flipped, bytes replaced, the end cut off, a piece removed or
// doubled.
inline std::string damaged(std::string content, std::uint64_t& state) {
  const auto random = [&state](std::size_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>((state >> 33) % std::max<std::size_t>(below, 1));
  };
  const std::size_t at = random(content.size()), n = 1 + random(16);
  switch (random(6)) {
    case 0:
      content[at] = static_cast<char>(content[at] ^ (1 << random(8)));
      break;
    case 1:
      for (std::size_t i = 0; i < n; ++i)
        content[random(content.size())] = static_cast<char>(random(256));
      break;
    case 2:
      content.resize(at);
      break;
    case 3:
      content.erase(at, n);
      break;
    case 4:
      content.insert(at, content.substr(random(content.size()), n));
      break;
    case 5:
      content[random(std::min<std::size_t>(content.size(), 128))] = static_cast<char>(random(256));
      break;  // the head matters most
  }
  return content;
}

// Every damaged version of `content` is opened: it is read, or refused with an Error. Gives how
// many were refused.
template <class Open>
int open_damaged(const std::filesystem::path& file, const std::string& content, int times,
                 std::uint64_t seed, Open&& open) {
  int refused = 0;
  for (int i = 0; i < times; ++i) {
    const std::uint64_t before = seed;
    put(file, damaged(content, seed));
    try {
      open();
    } catch (const Error& error) {
      ++refused;
      EXPECT_NE(std::string(error.what()).find(file.filename().string()), std::string::npos)
          << "no file name in: " << error.what();
    } catch (const std::exception& error) {
      ADD_FAILURE() << "damage " << i << " (state " << before
                    << ") is not an Error: " << error.what();
    }
  }
  return refused;
}

}  // namespace weft::test
