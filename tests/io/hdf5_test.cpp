// HDF5 files: written by all ranks in pieces, read by one or all, and the errors of broken ones.
#include "io/hdf5/hdf5.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>

#include <csignal>

#include "core/damaged.h"
#include "tests/io/shared_folder.h"

namespace weft {
namespace {

using namespace test;
namespace fs = std::filesystem;

template <class T>
std::vector<T> read_everything(const fs::path& file, const std::string& name) {
  const Hdf5File in = Hdf5File::open(file);
  std::vector<T> out(static_cast<std::size_t>(in.shape(name).elems()));
  in.read_all(name, View(out.data(), in.shape(name)));
  return out;
}

// Made by rank 0, before all go on.
void created(const SharedFolder& folder, const fs::path& file,
             const std::function<void(Hdf5File&)>& body) {
  if (folder.rank() == 0) {
    Hdf5File out = Hdf5File::create(file);
    body(out);
    out.close();
  }
  folder.barrier();
}

// Each piece of a dataset belongs to one rank, pieces of uneven sizes; each rank keeps its own
// packed together, with or without gaps.
void check_runs(const Dims& shape, std::int64_t gap) {
  const SharedFolder folder;
  const fs::path file = folder / "runs.h5";
  std::vector<FileRun> runs;
  std::vector<float> local;
  std::int64_t piece = 0;
  for (std::int64_t at = 0; at < shape.elems(); ++piece) {
    const std::int64_t size = std::min<std::int64_t>(1 + (piece * 7) % 13, shape.elems() - at);
    if (piece * 5 % 3 % folder.size() == folder.rank()) {
      local.resize(local.size() + static_cast<std::size_t>(gap), -1.0f);
      runs.push_back({at, static_cast<std::int64_t>(local.size()), size});
      for (std::int64_t i = 0; i < size; ++i) local.push_back(static_cast<float>(at + i) + 0.5f);
    }
    at += size;
  }
  created(folder, file,
          [&](Hdf5File& out) { out.create_dataset("/weights/x", DType::f32, shape); });
  Hdf5File::fill_together(file, folder.world(), folder.stream(), [&](Hdf5File& out) {
    out.write("/weights/x", ConstView(local.data(), Dims{static_cast<std::int64_t>(local.size())}),
              runs);
  });
  const std::vector<float> all = read_everything<float>(file, "/weights/x");
  for (std::size_t i = 0; i < all.size(); ++i)
    ASSERT_EQ(all[i], static_cast<float>(i) + 0.5f) << shape.str();
  // Back through the same runs, by all ranks at once; the gaps stay as they were.
  const Hdf5File in = Hdf5File::open(file);
  std::vector<float> back(local.size(), -1.0f);
  in.read("/weights/x", View(back.data(), Dims{static_cast<std::int64_t>(back.size())}), runs);
  EXPECT_EQ(back, local);
}

TEST(Hdf5, RanksWriteRunsOfEveryShape) {
  for (const Dims& shape : {Dims{1}, Dims{101}, Dims{7, 9}, Dims{33, 1}, Dims{1, 40}, Dims{3, 5, 7},
                            Dims{2, 3, 4, 5}, Dims{2, 1, 3, 2, 11}})
    for (const std::int64_t gap : {0, 2}) check_runs(shape, gap);
}

// The slice that tensor parallelism makes of a matrix's columns.
TEST(Hdf5, RanksWriteColumnsOfAMatrix) {
  const SharedFolder folder;
  const fs::path file = folder / "columns.h5";
  const std::int64_t R = 37, C = 4 * folder.size() + 3, begin = 4 * folder.rank(),
                     width = folder.rank() + 1 == folder.size() ? 7 : 4;
  std::vector<std::int32_t> local;
  std::vector<FileRun> runs;
  for (std::int64_t r = 0; r < R; ++r) {
    runs.push_back({r * C + begin, r * width, width});
    for (std::int64_t c = 0; c < width; ++c)
      local.push_back(static_cast<std::int32_t>(r * C + begin + c));
  }
  created(folder, file, [&](Hdf5File& out) { out.create_dataset("m", DType::i32, {R, C}); });
  Hdf5File::fill_together(file, folder.world(), folder.stream(), [&](Hdf5File& out) {
    out.write("m", ConstView(local.data(), Dims{R, width}), runs);
  });
  const auto all = read_everything<std::int32_t>(file, "m");
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], static_cast<std::int32_t>(i));
}

TEST(Hdf5, ARankMayHaveNothing) {
  const SharedFolder folder;
  const fs::path file = folder / "nothing.h5";
  created(folder, file, [&](Hdf5File& out) {
    out.create_dataset("x", DType::f64, {3});
    out.create_dataset("scalar", DType::i64, Dims{});
    out.create_dataset("none", DType::f32, {0, 4});
  });
  Hdf5File::fill_together(file, folder.world(), folder.stream(), [&](Hdf5File& out) {
    const double x[] = {1, 2, 3};
    const std::int64_t scalar = 42;
    const FileRun all = {0, 0, 3}, one = {0, 0, 1};
    if (folder.rank() == 0) {
      out.write("x", ConstView(x, Dims{3}), {&all, 1});
      out.write("scalar", ConstView(&scalar, Dims{}), {&one, 1});
    } else {
      out.write("x", ConstView(), {});
    }
    out.write("none", ConstView(), {});
  });
  EXPECT_EQ(read_everything<double>(file, "x"), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(read_everything<std::int64_t>(file, "scalar"), std::vector<std::int64_t>{42});
  EXPECT_TRUE(read_everything<float>(file, "none").empty());
}

TEST(Hdf5, EveryDTypeOfFiles) {
  const SharedFolder folder;
  const fs::path file = folder / "dtypes.h5";
  created(folder, file, [&](Hdf5File& out) {
    for (const DType dtype :
         {DType::f32, DType::f64, DType::i8, DType::u8, DType::u16, DType::i32, DType::i64})
      out.create_dataset(std::string(dtype_name(dtype)), dtype, {2, 3});
    out.create_dataset("bf16", DType::bf16, {4});
  });
  Hdf5File::fill_together(file, folder.world(), folder.stream(), [&](Hdf5File& out) {
    const FileRun all = {0, 0, 4};
    const BFloat16 half[] = {{1}, {2}, {0x7FC1}, {0xFFFF}};
    if (folder.rank() == 0) out.write("bf16", ConstView(half, Dims{4}), {&all, 1});
  });
  const Hdf5File in = Hdf5File::open(file);
  for (const DType dtype :
       {DType::f32, DType::f64, DType::i8, DType::u8, DType::u16, DType::i32, DType::i64}) {
    EXPECT_EQ(in.dtype(std::string(dtype_name(dtype))), dtype);
    EXPECT_EQ(in.shape(std::string(dtype_name(dtype))), (Dims{2, 3}));
  }
  BFloat16 half[4] = {};
  in.read_all("bf16", View(half, Dims{4}));
  EXPECT_EQ(half[2].bits, 0x7FC1);  // bit for bit
  EXPECT_EQ(half[3].bits, 0xFFFF);
  float wrong[6];
  expect_user_error([&] { in.read_all("int32", View(wrong, Dims{6})); },
                    {"dtypes.h5", "int32", "fp32"});  // never converted in silence
  expect_user_error([&] { in.read_all("bf16", View(wrong, Dims{4})); },
                    {"dtypes.h5", "bf16", "fp32"});
}

TEST(Hdf5, NamesTextsAndAttributes) {
  const SharedFolder folder;
  const fs::path file = folder / "names.h5";
  const std::string text(200'000, 't');
  created(folder, file, [&](Hdf5File& out) {
    out.create_dataset("/b/deep/x", DType::f32, {2});
    out.create_dataset("/b/a", DType::f32, {2});
    out.write_text("/text", text);
    out.write_text("/empty", "");
    out.set_attribute("/", "name", std::string("caf\xC3\xA9"));
    out.set_attribute("/", "name", std::string("replaced"));
    out.set_attribute("/b", "none", std::string());
    out.set_attribute("/b/a", "n", std::int64_t{-(1ll << 62)});
    out.set_attribute("/b/a", "x", 0.1);
    out.close();
    out.close();  // a second time does nothing
  });
  {
    const Hdf5File in = Hdf5File::open(file);
    EXPECT_EQ(in.path(), file);
    EXPECT_EQ(in.list("/"), (std::vector<std::string>{"b", "empty", "text"}));
    EXPECT_EQ(in.list("/b"), (std::vector<std::string>{"a", "deep"}));
    EXPECT_TRUE(in.exists("/b/deep/x"));
    EXPECT_FALSE(in.exists("/b/none/x"));
    EXPECT_EQ(in.read_text("/text"), text);
    EXPECT_EQ(in.read_text("/empty"), "");
    EXPECT_EQ(in.string_attribute("/", "name"), "replaced");
    EXPECT_EQ(in.string_attribute("/b", "none"), "");
    EXPECT_EQ(in.integer_attribute("/b/a", "n"), -(1ll << 62));
    EXPECT_EQ(in.number_attribute("/b/a", "x"), 0.1);
    EXPECT_FALSE(in.has_attribute("/b/a", "y"));
    expect_user_error([&] { in.integer_attribute("/b/a", "y"); }, {"names.h5", "y"});
    expect_user_error([&] { in.integer_attribute("/", "name"); }, {"names.h5", "name"});
    expect_user_error([&] { in.string_attribute("/b/a", "n"); }, {"names.h5", "n is not text"});
    expect_user_error([&] { in.shape("/b"); }, {"names.h5", "/b"});
    expect_user_error([&] { in.shape("/absent"); }, {"names.h5", "/absent"});
    expect_user_error([&] { in.list("/absent"); }, {"names.h5", "/absent"});
    expect_user_error([&] { in.has_attribute("/absent", "y"); }, {"names.h5", "/absent"});
    float x[3];
    expect_user_error([&] { in.read_all("/b/a", View(x, Dims{3})); },
                      {"names.h5", "/b/a", "(2)", "(3)"});
    const FileRun beyond = {1, 0, 2};
    EXPECT_THROW(in.read("/b/a", View(x, Dims{3}), {&beyond, 1}), Error);
  }
  folder.barrier();
  if (folder.rank() == 0) {
    Hdf5File again = Hdf5File::open_for_update(file);
    again.set_attribute("/", "more", std::int64_t{1});
    again.close();
  }
  folder.barrier();
  EXPECT_EQ(Hdf5File::open(file).integer_attribute("/", "more"), 1);
}

// What is refused is Damaged: it was read to its end.
template <class Call>
void expect_damaged(Call&& call, std::initializer_list<std::string> words) {
  try {
    call();
    ADD_FAILURE() << "no error was thrown; expected one with: " << *words.begin();
  } catch (const Damaged& error) {
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << "no '" << word << "' in: " << error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not Damaged: " << error.what();
  }
}

fs::path numbers_file(const fs::path& file) {
  std::vector<double> x(10'000, 1.0);
  const FileRun all = {0, 0, 10'000};
  Hdf5File out = Hdf5File::create(file);
  out.create_dataset("x", DType::f64, {10'000});
  out.write("x", ConstView(x.data(), Dims{10'000}), {&all, 1});
  out.close();
  return file;
}

TEST(Hdf5, FilesThatAreNone) {
  const SharedFolder folder;
  const fs::path mine = folder.mine(), text = mine / "text.h5";
  put(text, "not an HDF5 file\n");
  put(mine / "empty.h5", "");
  const fs::path cut = numbers_file(mine / "cut.h5");
  fs::resize_file(cut, fs::file_size(cut) - 1000);
  expect_user_error([&] { Hdf5File::open(mine / "absent.h5"); }, {"absent.h5", "no such file"});
  expect_user_error([&] { Hdf5File::open(mine); }, {"folder"});
  expect_damaged([&] { Hdf5File::open(text); }, {"text.h5", "not an HDF5 file", "signature"});
  expect_damaged([&] { Hdf5File::open(mine / "empty.h5"); }, {"empty.h5", "not an HDF5 file"});
  expect_damaged([&] { Hdf5File::open(cut); }, {"cut.h5", "truncated", "eof"});
  expect_user_error([&] { Hdf5File::create(mine / "no" / "x.h5"); },
                    {"x.h5", "No such file or directory"});
}

// What stands between a whole file and us is no damage, and HDF5's or the system's own words are in
// the sentence.
TEST(Hdf5, WhatCannotBeReachedIsNotDamaged) {
  const SharedFolder folder;
  const fs::path file = numbers_file(folder.mine() / "x.h5");
  const auto expect_failure = [&](const std::function<void()>& call,
                                  std::initializer_list<std::string> words) {
    const auto failure = failure_of(call);
    ASSERT_TRUE(failure.has_value());
    EXPECT_EQ(failure->kind, FailureKind::program) << failure->text;
    for (const std::string& word : words)
      EXPECT_NE(failure->text.find(word), std::string::npos)
          << "no '" << word << "' in: " << failure->text;
  };
  const int fd = ::open(file.c_str(), O_RDWR);
  ASSERT_EQ(::flock(fd, LOCK_EX), 0);
  expect_failure([&] { Hdf5File::open(file); }, {"x.h5", "lock", "Resource temporarily"});
  ::close(fd);
  EXPECT_EQ(failure_of([&] { Hdf5File::open(file); }), std::nullopt);

  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none = before;
  none.rlim_cur = 0;
  setrlimit(RLIMIT_NOFILE, &none);
  const auto failure = failure_of([&] { Hdf5File::open(file); });
  setrlimit(RLIMIT_NOFILE, &before);
  expect_failure(
      [&] {
        if (failure) rethrow(*failure);
      },
      {"x.h5", "Too many open files"});

  if (::geteuid() != 0) {
    fs::permissions(file, fs::perms::none);
    expect_failure([&] { Hdf5File::open(file); }, {"x.h5", "Permission denied"});
    fs::permissions(file, fs::perms::owner_all);
  }
  expect_failure([&] { Hdf5File::create("/proc/x.h5"); }, {"/proc/x.h5"});
}

TEST(Hdf5, AnErrorOnAllRanksLeavesThemAbleToGoOn) {
  const SharedFolder folder;
  for (int i = 0; i < 3; ++i) {
    const fs::path file = folder / fmt::format("twice{}.h5", i);
    created(folder, file, [&](Hdf5File& out) { out.create_dataset("x", DType::f32, {2}); });
    EXPECT_THROW(Hdf5File::fill_together(file, folder.world(), folder.stream(),
                                         [&](Hdf5File&) { throw Error("of every rank"); }),
                 Error);
    EXPECT_THROW(Hdf5File::fill_together(folder / "none.h5", folder.world(), folder.stream(),
                                         [](Hdf5File&) {}),
                 Error);
    folder.barrier();
  }
}

// Whatever is thrown between the collective calls, by one rank alone: the others do not wait, and
// throw it too.
TEST(Hdf5, ARankThatThrowsBeforeItWritesKeepsNoneWaiting) {
  const SharedFolder folder;
  const fs::path file = folder / "one.h5";
  const bool fails = folder.rank() == folder.size() - 1;
  created(folder, file,
          [&](Hdf5File& out) { out.create_dataset("x", DType::f32, {folder.size()}); });
  for (int i = 0; i < 3; ++i) {
    const auto failure = failure_of([&] {
      Hdf5File::fill_together(file, folder.world(), folder.stream(), [&](Hdf5File& out) {
        if (fails) throw std::bad_alloc();
        const float x = 1;
        const FileRun run = {folder.rank(), 0, 1};
        out.write("x", ConstView(&x, Dims{1}), {&run, 1});
      });
    });
    ASSERT_TRUE(failure);
    EXPECT_EQ(failure->text, "out of memory");
    folder.barrier();
  }
}

// The size limit of files acts as a full disk, on the last rank only. The others must not wait for
// it for ever.
TEST(Hdf5, AWriteThatFailsOnOneRankIsThrownAtTheEnd) {
  SharedFolder folder;
  const bool fails = folder.rank() == folder.size() - 1;
  const std::int64_t n = 100'000;
  std::vector<double> x(static_cast<std::size_t>(n), 1.0);
  const FileRun mine = {folder.rank() * n, 0, n};
  const fs::path file = folder / "full.h5";
  created(folder, file,
          [&](Hdf5File& out) { out.create_dataset("x", DType::f64, {folder.size() * n}); });
  std::string message;
  try {
    Hdf5File::fill_together(file, folder.world(), folder.stream(), [&](Hdf5File& out) {
      rlimit before{};
      getrlimit(RLIMIT_FSIZE, &before);
      auto* handler = std::signal(SIGXFSZ, SIG_IGN);
      rlimit small = before;
      small.rlim_cur = 1 << 16;
      if (fails) setrlimit(RLIMIT_FSIZE, &small);
      const auto failure = failure_of([&] {
        out.write("x", ConstView(x.data(), Dims{n}), {&mine, 1});
      });
      setrlimit(RLIMIT_FSIZE, &before);
      std::signal(SIGXFSZ, handler);
      if (failure) rethrow(*failure);
    });
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_NE(message.find("full.h5"), std::string::npos) << message;
}

}  // namespace
}  // namespace weft
