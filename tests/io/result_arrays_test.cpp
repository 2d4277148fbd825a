// Lines as arrays: every kind of field, what is missing, names, and more lines than are held.
#include "io/result_arrays.h"

#include <cmath>
#include <numeric>

#include "io/files.h"
#include "io/hdf5/hdf5.h"
#include "tests/io/shared_folder.h"

namespace weft {
namespace {

using namespace test;

struct Arrays {
  Hdf5File file;

  template <class T>
  std::vector<T> values(const std::string& name, DType dtype) const {
    EXPECT_EQ(file.dtype(name), dtype) << name;
    std::vector<T> all(static_cast<std::size_t>(file.shape(name)[0]));
    if (!all.empty()) file.read_all(name, View(all.data(), file.shape(name)));
    return all;
  }
  std::vector<std::int64_t> wholes(const std::string& name) const {
    return values<std::int64_t>(name, DType::i64);
  }
  std::vector<double> reals(const std::string& name) const {
    return values<double>(name, DType::f64);
  }
  std::vector<std::string> texts(const std::string& name) const {
    std::vector<std::int64_t> at(static_cast<std::size_t>(file.shape(name)[0]));
    std::iota(at.begin(), at.end(), 0);
    return file.read_strings(name, at);
  }
};

Arrays arrays_of(const SharedFolder& folder, const std::string& lines) {
  const std::filesystem::path from = folder.mine() / "o.jsonl", to = folder.mine() / "o.h5";
  write_file_atomically(from, lines);
  write_result_arrays(from, to, {{"model", "m"}});
  return {Hdf5File::open(to)};
}

using Wholes = std::vector<std::int64_t>;
using Texts = std::vector<std::string>;

TEST(ResultArrays, OfEveryKind) {
  const SharedFolder folder;
  const Arrays a = arrays_of(
      folder,
      "{\"id\":\"a\",\"n\":3,\"yes\":true,\"p\":0.5,\"ids\":[5,6],\"logprobs\":[-1,-2.5]}\n"
      "{\"id\":\"b ß\",\"n\":-4,\"yes\":false,\"p\":1,\"ids\":[],\"logprobs\":[]}\n"
      "{\"id\":\"\",\"n\":9007199254740993,\"yes\":true,\"p\":2,\"ids\":[7],\"logprobs\":[-3]}");
  EXPECT_EQ(a.texts("/id"), (Texts{"a", "b ß", ""}));
  EXPECT_EQ(a.wholes("/n"), (Wholes{3, -4, 9007199254740993}));
  EXPECT_EQ(a.wholes("/yes"), (Wholes{1, 0, 1}));
  EXPECT_EQ(a.reals("/p"), (std::vector<double>{0.5, 1, 2}));
  EXPECT_EQ(a.wholes("/ids"), (Wholes{5, 6, 7}));
  EXPECT_EQ(a.wholes("/ids_offsets"), (Wholes{0, 2, 2, 3}));
  EXPECT_EQ(a.reals("/logprobs"), (std::vector<double>{-1, -2.5, -3}));
  EXPECT_EQ(a.wholes("/logprobs_offsets"), (Wholes{0, 2, 2, 3}));
  EXPECT_EQ(a.file.integer_attribute("/", "lines"), 3);
  EXPECT_EQ(a.file.string_attribute("/", "model"), "m");
}

TEST(ResultArrays, WhatIsMissingAndWhatDiffers) {
  const SharedFolder folder;
  const Arrays a =
      arrays_of(folder,
                "{\"n\":1,\"t\":\"x\",\"l\":[\"u\",\"v\"],\"any\":[1],\"o\":{\"k\":1}}\n"
                "{\"n\":null,\"l\":null,\"any\":\"s\",\"o\":null,\"none\":null}\n"
                "{\"l\":[\"w\"],\"any\":2,\"empty\":[],\"holes\":[1,null]}\n");
  const std::vector<double> n = a.reals("/n");
  EXPECT_EQ(n[0], 1);
  EXPECT_TRUE(std::isnan(n[1]) && std::isnan(n[2]));
  EXPECT_EQ(a.texts("/t"), (Texts{"x", "", ""}));
  EXPECT_EQ(a.texts("/l"), (Texts{"u", "v", "w"}));
  EXPECT_EQ(a.wholes("/l_offsets"), (Wholes{0, 2, 2, 3}));
  EXPECT_EQ(a.texts("/any"), (Texts{"[1]", "\"s\"", "2"}));
  EXPECT_EQ(a.texts("/o"), (Texts{"{\"k\":1}", "", ""}));
  EXPECT_EQ(a.reals("/none").size(), 3u);
  EXPECT_EQ(a.wholes("/empty").size(), 0u);
  EXPECT_EQ(a.wholes("/empty_offsets"), (Wholes{0, 0, 0, 0}));
  EXPECT_TRUE(std::isnan(a.reals("/holes")[1]));
}

TEST(ResultArrays, NamesThatHdf5CannotHave) {
  const SharedFolder folder;
  const Arrays a =
      arrays_of(folder, "{\"a/b\":1,\"a_b\":2,\"l\":[3],\"l_offsets\":4,\"\":5,\"l\\u0000\":6}\n");
  EXPECT_EQ(a.wholes("/a_b"), Wholes{1});
  EXPECT_EQ(a.wholes("/a_b_"), Wholes{2});
  EXPECT_EQ(a.wholes("/l_offsets"), (Wholes{0, 1}));
  EXPECT_EQ(a.wholes("/l_offsets_"), Wholes{4});
  EXPECT_EQ(a.wholes("/_"), Wholes{5});
  EXPECT_EQ(a.wholes("/l_"), Wholes{6});
}

TEST(ResultArrays, OfMoreLinesThanAreHeld) {
  const SharedFolder folder;
  std::string lines;
  constexpr std::int64_t kLines = 150'000;
  for (std::int64_t i = 0; i < kLines; ++i)
    lines += fmt::format("{{\"i\":{},\"t\":\"text {}\",\"l\":[{},{}]}}\n", i, i, i, -i);
  const Arrays a = arrays_of(folder, lines);
  const Wholes i = a.wholes("/i"), l = a.wholes("/l"), offsets = a.wholes("/l_offsets");
  ASSERT_EQ(i.size(), std::size_t{kLines});
  ASSERT_EQ(l.size(), std::size_t{2 * kLines});
  const Texts t = a.texts("/t");
  for (std::int64_t n = 0; n < kLines; ++n) {
    const auto at = static_cast<std::size_t>(n);
    ASSERT_TRUE(i[at] == n && l[2 * at] == n && l[2 * at + 1] == -n && offsets[at] == 2 * n) << n;
    ASSERT_EQ(t[at], fmt::format("text {}", n));
  }
}

TEST(ResultArrays, OfNoLinesAndOfNoJson) {
  const SharedFolder folder;
  EXPECT_EQ(arrays_of(folder, "").file.integer_attribute("/", "lines"), 0);
  EXPECT_THROW(arrays_of(folder, "{}\n[1]\n"), UserError);
  EXPECT_THROW(arrays_of(folder, "{\"a\"\n"), UserError);
}

}  // namespace
}  // namespace weft
