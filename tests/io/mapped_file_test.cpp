// Files that change while they are mapped, and those that stand for another.
#include "io/mapped_file.h"

#include <sys/resource.h>

#include <thread>

#include "io/json.h"
#include "io/weights/safetensors.h"
#include "tests/io/shared_folder.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

template <class Call>
void expect_failure(Call&& call, const std::string& file) {
  try {
    call();
    ADD_FAILURE() << "no error was thrown";
  } catch (const UserError& error) {
    ADD_FAILURE() << "a user's mistake: " << error.what();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(file), std::string::npos) << error.what();
  }
}

TEST(MappedFile, CutShortWhileMappedIsAnErrorNotASignal) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "weights";
  put(file, std::string(1 << 20, 'x'));
  const MappedFile map(file, 1, "test");
  check_mapping(map.data());
  fs::resize_file(file, 5000);
  EXPECT_EQ(static_cast<char>(map.data()[0]), 'x');
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i)
    readers.emplace_back([&] {
      for (std::size_t at = 8192; at < map.bytes(); at += 1000)
        EXPECT_EQ(static_cast<char>(map.data()[at]), '\0');
    });
  for (std::thread& reader : readers) reader.join();
  expect_failure([&] { check_mapping(map.data() + 70000); }, "weights");
  put(folder.mine() / "other", "whole");
  const MappedFile other(folder.mine() / "other", 1, "test");
  check_mapping(other.data());  // the fault is one file's
}

// A path that cannot be is the user's mistake; what the system or the machine refuses is not.
TEST(MappedFile, WhatCannotBeOpenedIsToldByItsKind) {
  const SharedFolder folder;
  const fs::path dir = folder.mine(), file = dir / "weights";
  const auto open = [](const fs::path& path) { MappedFile(path, 1, "test"); };
  expect_user_error([&] { open(dir / "absent"); }, {"absent", "cannot be opened", "No such file"});
  put(file, "x");
  expect_user_error([&] { open(file / "within"); }, {"within", "Not a directory"});
  expect_user_error([&] { open(dir); }, {"is not a file"});
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 0;
  setrlimit(RLIMIT_NOFILE, &none);
  const auto failure = failure_of([&] { open(file); });
  setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, FailureKind::program);
  EXPECT_NE(failure->text.find("weights: cannot be opened (Too many open files)"),
            std::string::npos)
      << failure->text;
  if (::geteuid() != 0) {
    fs::permissions(file, fs::perms::none);
    expect_failure([&] { open(file); }, "weights");
    fs::permissions(file, fs::perms::owner_all);
  }
}

TEST(MappedFile, ATensorOfACutFileIsAnError) {
  const SharedFolder folder;
  const fs::path dir = folder.mine();
  std::vector<TensorToWrite> tensors;
  tensors.push_back({"a", DType::f32, {64, 1024}, [](std::span<std::byte> out) {
                       std::fill(out.begin(), out.end(), std::byte{1});
                     }});
  write_safetensors(dir, tensors, 1 << 30, true);
  const SafetensorsReader reader(dir);
  fs::resize_file(dir / "model.safetensors", 10000);
  std::vector<float> values(64 * 1024);
  expect_failure([&] { read_elements(*reader.find("a"), 0, 64 * 1024, values.data()); },
                 "model.safetensors");
}

TEST(MappedFile, GitLfsPointersAreNamedForWhatTheyAre) {
  const SharedFolder folder;
  const fs::path dir = folder.mine();
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4865\n";
  for (const char* name : {"model.safetensors", "config.json"}) put(dir / name, pointer);
  expect_user_error([&] { SafetensorsReader reader(dir); }, {"model.safetensors", "git lfs pull"});
  expect_user_error([&] { read_json_object(dir / "config.json"); }, {"config.json", "Git LFS"});
}

}  // namespace
}  // namespace weft::test
