// Files and folders are whole or not there, and nothing else is left beside them.
#include "src/io/files.h"

#include <sys/resource.h>

#include <csignal>

#include "tests/io/shared_folder.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

TEST(WriteAtomically, WritesAndReplaces) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "a.json";
  write_file_atomically(file, "one");
  EXPECT_EQ(get(file), "one");
  const std::string large(5'000'003, 'y');
  write_file_atomically(file, large);
  EXPECT_EQ(get(file), large);
  write_file_atomically(file, "");
  EXPECT_EQ(get(file), "");
  EXPECT_EQ(n_entries(folder.mine()), 1);
}

// The size limit of files acts as a full disk: write() fails part way.
TEST(WriteAtomically, AFullDiskLeavesTheOldFileAndNothingElse) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "a.json";
  write_file_atomically(file, "old");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1 << 16;
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    write_file_atomically(file, std::string(1 << 20, 'z'));
  } catch (const Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find("a.json"), std::string::npos) << message;
  EXPECT_EQ(get(file), "old");
  EXPECT_EQ(n_entries(folder.mine()), 1);
}

TEST(WriteAtomically, NoFolderAndNoPlace) {
  const SharedFolder folder;
  expect_user_error([&] { write_file_atomically(folder.mine() / "absent" / "a.json", "x"); },
                    {"a.json"});
  const fs::path taken = folder.mine() / "taken";
  fs::create_directories(taken / "inside");
  EXPECT_THROW(write_file_atomically(taken, "x"), Error);  // the rename fails
  EXPECT_EQ(n_entries(folder.mine()), 1);
}

// The three ways to fill one: by writing, with room that was asked for, by its name.
TEST(FileBeside, IsPutInPlaceWhole) {
  const SharedFolder folder;
  const fs::path place = folder.mine() / "weights";
  for (const int way : {0, 1, 2}) {
    const std::string content = fmt::format("way {}", way);
    FileBeside beside(place);
    EXPECT_NE(beside.path(), place);
    if (way == 1) {
      beside.reserve(1 << 20);
      EXPECT_EQ(fs::file_size(beside.path()), 1 << 20);
    }
    if (way == 2) {
      put(beside.path(), content);
    } else {
      beside.write(content.substr(0, 2));
      beside.write(content.substr(2));
    }
    EXPECT_EQ(fs::exists(place) ? get(place) : "", way == 0 ? "" : fmt::format("way {}", way - 1));
    beside.put_in_place();
    EXPECT_EQ(get(place), content);
    EXPECT_EQ(n_entries(folder.mine()), 1);
  }
}

TEST(FileBeside, GoesWhereItIsNotPutInPlace) {
  const SharedFolder folder;
  const fs::path place = folder.mine() / "weights";
  put(place, "old");
  {
    FileBeside unfinished(place);
    unfinished.write("half of it");
    EXPECT_EQ(n_entries(folder.mine()), 2);
  }
  EXPECT_EQ(failure_of([&] {
              FileBeside beside(place);
              beside.reserve(5);
              throw std::bad_alloc();
            })->text,
            "out of memory");
  { const FileBeside untouched(place); }
  EXPECT_EQ(n_entries(folder.mine()), 1);
  EXPECT_EQ(get(place), "old");
}

TEST(FileBeside, WhatFailsNamesThePlace) {
  const SharedFolder folder;
  expect_user_error([&] { FileBeside(folder.mine() / "absent" / "a").reserve(1); },
                    {"absent/a: cannot be written"});
  FileBeside nothing(folder.mine() / "b");
  expect_user_error([&] { nothing.put_in_place(); }, {"/b: writing failed", "No such file"});
  // A file system that does not reserve says nothing.
  const auto failure =
      failure_of([&] { FileBeside(folder.mine() / "c").reserve(std::int64_t{1} << 60); });
  if (failure) {
    EXPECT_EQ(failure->kind, FailureKind::program);
    EXPECT_NE(failure->text.find("/c: the disk is full"), std::string::npos) << failure->text;
    EXPECT_EQ(failure->text.find(".tmp"), std::string::npos) << failure->text;
  }
  EXPECT_EQ(n_entries(folder.mine()), 0);
}

TEST(Files, APlaceIsCheckedBeforeItIsWrittenTo) {
  const SharedFolder folder;
  const fs::path dir = folder.mine();
  put(dir / "old", "x");
  for (const fs::path& place : {dir / "new", dir / "old", fs::path("bare"), fs::path()})
    check_place("--out", place);
  for (const char* parent : {"absent", "old"}) {  // a file is no folder
    const std::string in = (dir / parent).string();
    expect_user_error([&] { check_place("--html", dir / parent / "a"); },
                      {fmt::format("--html {0}/a: there is no folder {0}", in)});
  }
  expect_user_error([&] { check_place("--h5", dir); },
                    {fmt::format("--h5 {}: is a folder, not a file", dir.string())});
  EXPECT_EQ(n_entries(dir), 1);
}

TEST(Files, WhatAKilledProcessLeftIsRemoved) {
  const SharedFolder folder;
  const fs::path dir = folder.mine();
  for (const char* name : {"a.h5", "a.h5.123.tmp", "b.tmp", "a.h5.12.tmp.locktest.1"})
    put(dir / name, name);
  fs::create_directories(dir / "model.123.tmp" / "within");
  remove_left_beside(dir);
  EXPECT_EQ(n_entries(dir), 1);
  EXPECT_EQ(get(dir / "a.h5"), "a.h5");
  remove_left_beside(dir / "absent");
}

TEST(Files, AreCopiedAndRemoved) {
  const SharedFolder folder;
  const fs::path dir = folder.mine();
  put(dir / "a", "new");
  put(dir / "b", "old and longer");
  copy_over(dir / "a", dir / "b");
  EXPECT_EQ(get(dir / "b"), "new");
  expect_user_error([&] { copy_over(dir / "absent", dir / "b"); }, {"absent", "No such file"});
  EXPECT_TRUE(remove_file(dir / "b"));
  EXPECT_FALSE(remove_file(dir / "b"));
  fs::create_directories(dir / "full" / "within");
  expect_user_error([&] { remove_file(dir / "full"); }, {"full", "cannot be removed"});
  copy_folder(dir / "full", dir / "copy");
  EXPECT_TRUE(fs::is_directory(dir / "copy" / "within"));
}

TEST(Files, WhatIsSetAsideReplacesNothing) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "a.h5";
  for (const char* name : {"a.h5.aside", "a.h5.aside.2", "a.h5.aside.3"}) {
    put(file, name);
    EXPECT_EQ(set_aside(file).filename(), name);
    EXPECT_FALSE(fs::exists(file));
  }
  EXPECT_EQ(get(folder.mine() / "a.h5.aside"), "a.h5.aside");
  expect_user_error([&] { set_aside(file); }, {"a.h5", "No such file"});
}

TEST(Files, AFolderIsPutInPlaceWhole) {
  const SharedFolder folder;
  const fs::path place = folder.mine() / "model";
  for (const char* content : {"first", "second"}) {
    {
      FolderBeside unfinished(place);
      put(unfinished.path() / "part", "x");
    }
    FolderBeside beside(place);
    put(beside.path() / content, content);
    beside.put_in_place();
  }
  EXPECT_EQ(get(place / "second"), "second");
  EXPECT_EQ(n_entries(place), 1);
  EXPECT_EQ(n_entries(folder.mine()), 1);
}

}  // namespace
}  // namespace weft::test
