// GGUF: the golden files (tests/data/make_gguf.py) bit for bit, and every claim of a file checked.
#include "io/weights/gguf.h"

#include <bit>
#include <cmath>
#include <random>
#include <thread>

#include "io/weights/safetensors.h"
#include "tests/io/gguf_file.h"
#include "tests/io/shared_folder.h"

namespace weft {
namespace {

using namespace test;
namespace fs = std::filesystem;

const fs::path kData = fs::path(WEFT_TEST_DATA) / "gguf";

std::vector<float> read(const StoredTensor& t, std::int64_t begin, std::int64_t count) {
  std::vector<float> out(static_cast<std::size_t>(count) + 1, -77.0f);
  read_elements(t, begin, count, out.data());
  EXPECT_EQ(out.back(), -77.0f) << t.name << ": wrote past its end";
  out.pop_back();
  return out;
}
std::vector<float> read(const StoredTensor& t) { return read(t, 0, t.shape.elems()); }

void expect_same_bits(const float* a, const float* b, std::int64_t n, const std::string& what) {
  for (std::int64_t i = 0; i < n; ++i)
    ASSERT_EQ(std::bit_cast<std::uint32_t>(a[i]), std::bit_cast<std::uint32_t>(b[i]))
        << what << " element " << i;
}

TEST(Gguf, BlocksWidenAsTheReferenceDoes) {
  const GgufReader reader(kData / "blocks.gguf");
  const SafetensorsReader golden(kData / "blocks.safetensors");
  ASSERT_EQ(reader.tensors().size(), 13u);
  for (const auto& [name, expected] : golden.tensors()) {
    const StoredTensor* t = reader.find(name);
    ASSERT_TRUE(t) << name;
    ASSERT_EQ(t->shape, expected.shape) << name;
    const std::vector<float> want = read(expected), got = read(*t);
    expect_same_bits(got.data(), want.data(), t->shape.elems(), name);
  }
  EXPECT_EQ(reader.find("absent"), nullptr);
}

TEST(Gguf, RunsBeginAndEndInsideBlocks) {
  const GgufReader reader(kData / "blocks.gguf");
  for (const auto& [name, t] : reader.tensors()) {
    const std::vector<float> whole = read(t);
    const std::int64_t n = t.shape.elems();
    for (const std::int64_t begin : {0L, 1L, 15L, 31L, 32L, 33L, 100L, n - 1, n})
      for (const std::int64_t count : {0L, 1L, 2L, 17L, 32L, 50L})
        if (begin + count <= n)
          expect_same_bits(read(t, begin, count).data(), whole.data() + begin, count, name);
    std::mt19937 random(5);
    for (int i = 0; i < 200; ++i) {
      const auto begin = static_cast<std::int64_t>(random() % static_cast<unsigned>(n)),
                 count = static_cast<std::int64_t>(random()) % (n - begin + 1);
      expect_same_bits(read(t, begin, count).data(), whole.data() + begin, count, name);
    }
    EXPECT_THROW(read(t, 1, n), Error) << name;
    EXPECT_THROW(read(t, -1, 1), Error) << name;
  }
}

TEST(Gguf, ThreadsReadOneTensor) {
  const GgufReader reader(kData / "blocks.gguf");
  const StoredTensor& t = *reader.find("Q5_K");
  const std::vector<float> whole = read(t);
  std::vector<float> out(whole.size());
  std::vector<std::thread> threads;
  for (std::int64_t i = 0; i < 8; ++i)
    threads.emplace_back([&, i] { read_elements(t, i * 192, 192, out.data() + i * 192); });
  for (std::thread& thread : threads) thread.join();
  expect_same_bits(out.data(), whole.data(), t.shape.elems(), "threads");
}

TEST(Gguf, RowsAreReordered) {
  for (const char* name : {"F32", "Q8_0", "Q4_K"}) {
    const GgufReader reader(kData / "blocks.gguf");
    StoredTensor t = *reader.find(name);
    const std::int64_t I = t.shape[1];
    const std::vector<float> stored = read(t);
    t.shape = Dims{3, I};
    t.row_order = RowOrder::qkv_by_part;  // one head of one row a part: as it is
    t.row_heads = 1;
    expect_same_bits(read(t).data(), stored.data(), 3 * I, name);
    t.row_order = RowOrder::rotated_pairs;
    EXPECT_THROW(read(t), Error);  // three rows are no pairs
  }
  std::vector<float> rows(24);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i);
  StoredTensor t;
  t.shape = Dims{12, 2};
  t.data = reinterpret_cast<const std::byte*>(rows.data());
  t.row_order = RowOrder::rotated_pairs;
  t.row_heads = 2;
  const float pairs[] = {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11};  // the stored row of each of ours
  for (std::int64_t r = 0; r < 12; ++r) EXPECT_EQ(read(t, 2 * r + 1, 1)[0], 2 * pairs[r] + 1) << r;
  t.row_order = RowOrder::qkv_by_part;
  const float parts[] = {0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11};
  const std::vector<float> got = read(t, 3, 20);
  for (std::int64_t i = 3; i < 23; ++i)
    EXPECT_EQ(got[static_cast<std::size_t>(i - 3)], 2 * parts[i / 2] + static_cast<float>(i % 2))
        << i;
  t.row_order = RowOrder::as_is;
  t.offset = -1;
  EXPECT_EQ(read(t, 5, 2), (std::vector<float>{4, 5}));
}

TEST(Gguf, TransposedTensorsTurn) {
  const GgufReader reader(kData / "blocks.gguf");
  for (const char* name : {"F32", "Q4_0", "Q6_K"}) {
    StoredTensor t = *reader.find(name);
    const std::int64_t O = t.shape[0], I = t.shape[1];
    const std::vector<float> stored = read(t);
    t.shape = Dims{I, O};
    t.transposed = true;
    std::vector<float> turned(stored.size());
    for (std::int64_t o = 0; o < O; ++o)
      for (std::int64_t i = 0; i < I; ++i)
        turned[static_cast<std::size_t>(i * O + o)] = stored[static_cast<std::size_t>(o * I + i)];
    expect_same_bits(read(t).data(), turned.data(), O * I, name);
    std::mt19937 random(9);
    for (int k = 0; k < 200; ++k) {
      const auto begin = static_cast<std::int64_t>(random() % static_cast<unsigned>(O * I)),
                 count = static_cast<std::int64_t>(random()) % (O * I - begin + 1);
      expect_same_bits(read(t, begin, count).data(), turned.data() + begin, count, name);
    }
    expect_same_bits(read(as_stored(t)).data(), stored.data(), O * I, name);
  }
}

GgufFile small() {
  GgufFile f;
  f.text_key("general.architecture", "none")
      .int_key("a", 7)
      .float_key("b", 0.00001f)
      .key("c", 7, std::string(1, '\1'));
  f.key("d", 9,
        GgufFile::number<std::uint32_t>(5) + GgufFile::number<std::uint64_t>(2) +
            GgufFile::number<std::int32_t>(-3) + GgufFile::number<std::int32_t>(4));
  f.key("e", 9,
        GgufFile::number<std::uint32_t>(8) + GgufFile::number<std::uint64_t>(1) +
            GgufFile::text("x"));
  f.key("f", 9,
        GgufFile::number<std::uint32_t>(9) + GgufFile::number<std::uint64_t>(1) +
            GgufFile::number<std::uint32_t>(0) + GgufFile::number<std::uint64_t>(1) + "\x05");
  f.key("g", 0, "\xFF")
      .key("h", 1, "\xFF")
      .key("i", 2, "\xFF\xFF")
      .key("j", 3, "\xFE\xFF")
      .key("k", 5, GgufFile::number<std::int32_t>(-9));
  f.key("l", 10, GgufFile::number<std::uint64_t>(1ull << 60))
      .key("m", 11, GgufFile::number<std::int64_t>(-5))
      .key("n", 12, GgufFile::number(2.5));
  f.floats("x", {3, 2}, {1, 2, 3, 4, 5, 6}).floats("y", {2}, {7, 8});
  return f;
}

TEST(Gguf, MetadataOfEveryType) {
  const SharedFolder folder;
  for (const std::uint32_t version : {2u, 3u}) {
    GgufFile f = small();
    f.version = version;
    put(folder.mine() / "m.gguf", f.bytes());
    EXPECT_TRUE(GgufReader::is_gguf(folder.mine() / "m.gguf"));
    const GgufReader reader(folder.mine() / "m.gguf");
    EXPECT_EQ(
        reader.metadata(),
        parse_json(
            R"({"general.architecture":"none","a":7,"b":0.00001,"c":true,"d":[-3,4],"e":["x"])"
            R"(,"f":[[5]],"g":255,"h":-1,"i":65535,"j":-2,
                                                 "k":-9,"l":1152921504606846976,"m":-5,"n":2.5})"));
    EXPECT_EQ(reader.find("x")->shape, (Dims{2, 3}));
    EXPECT_EQ(read(*reader.find("x")), (std::vector<float>{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(read(*reader.find("y")), (std::vector<float>{7, 8}));
  }
  put(folder.mine() / "other", "GGU");
  EXPECT_FALSE(GgufReader::is_gguf(folder.mine() / "other"));
  EXPECT_FALSE(GgufReader::is_gguf(folder.mine() / "absent"));
  EXPECT_FALSE(GgufReader::is_gguf(folder.mine()));
}

// What opening a file with these bytes says; empty where it opens.
std::string complaint(const fs::path& file, const std::string& bytes) {
  put(file, bytes);
  try {
    const GgufReader reader(file);
    for (const auto& [name, t] : reader.tensors())
      if (t.dtype == DType::f32) read(t);
    return "";
  } catch (const UserError& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find(file.string()), 0u) << text;
    return text;
  }
}

TEST(Gguf, EveryWrongClaimIsNamed) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "m.gguf";
  const auto expect = [&](const GgufFile& f, const std::string& part) {
    const std::string text = complaint(file, f.bytes());
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in: " << text;
  };
  const auto made = [](const std::function<void(GgufFile&)>& change) {
    GgufFile f = small();
    change(f);
    return f;
  };
  const auto u32 = [](std::uint32_t x) { return GgufFile::number(x); };
  const auto u64 = [](std::uint64_t x) { return GgufFile::number(x); };
  EXPECT_EQ(complaint(file, small().bytes()), "");
  EXPECT_NE(complaint(file, "GGUF").find("too few"), std::string::npos);
  EXPECT_NE(complaint(file, "").find("too few"), std::string::npos);
  EXPECT_NE(complaint(file, std::string(64, 'x')).find("does not begin with GGUF"),
            std::string::npos);
  expect(made([](GgufFile& f) { f.version = 1; }), "version 1; allowed: 2, 3");
  expect(made([](GgufFile& f) { f.version = 4; }), "version 4; allowed: 2, 3");
  expect(made([](GgufFile& f) { f.version = 0x03000000; }), "big-endian");
  expect(made([](GgufFile& f) { f.n_keys = 1ull << 60; }), "claims 1152921504606846976 keys");
  expect(made([](GgufFile& f) { f.n_tensors = ~0ull; }), "claims 18446744073709551615 tensors");
  expect(made([](GgufFile& f) { f.key("z", 13, ""); }), "z has value type 13");
  expect(made([](GgufFile& f) { f.int_key("a", 1); }), "key a stands there twice");
  expect(made([&](GgufFile& f) { f.key("z", 9, u32(5) + u64(1ull << 61)); }),
         "z claims an array of 2305843009213693952 values");
  expect(made([&](GgufFile& f) { f.key("z", 9, u32(99) + u64(1)); }),
         "z is an array of value type 99");
  expect(made([&](GgufFile& f) { f.key("z", 8, u64(~0ull)); }), "ends inside z");
  expect(made([&](GgufFile& f) {
           std::string deep;
           for (int i = 0; i < 6; ++i) deep += u32(9) + u64(1);
           f.key("z", 9, deep + u32(0) + u64(0));
         }),
         "z holds arrays deeper than 4");
  expect(made([](GgufFile& f) { f.keys = GgufFile::text(std::string(600, 'k')) + f.keys; }),
         "allowed: at most 512");
  expect(made([](GgufFile& f) { f.int_key("general.alignment", 24); }), "general.alignment is 24");
  expect(made([](GgufFile& f) { f.int_key("general.alignment", 0); }), "general.alignment is 0");
  expect(made([](GgufFile& f) { f.text_key("general.alignment", "32"); }),
         "general.alignment is \"32\"");
  expect(made([](GgufFile& f) { f.int_key("split.count", 3); }), "is one of 3 parts");
  expect(made([](GgufFile& f) { f.entry("z", {4}, 0, 16); }), "tensor z begins at byte 16");
  expect(made([](GgufFile& f) { f.entry("z", {4}, 0, 0); }), "overlap at byte 0");
  expect(made([](GgufFile& f) { f.entry("z", {4}, 0, 1 << 20); }),
         "tensor z claims 16 bytes from byte 1048576");
  expect(made([](GgufFile& f) { f.entry("z", {4}, 0, ~31ull); }), "tensor z claims 16 bytes");
  expect(made([](GgufFile& f) {
           f.entry("z", {1ull << 40, 1ull << 40}, 0, 0);
         }),
         "tensor z has dims whose product");
  expect(made([](GgufFile& f) { f.entry("z", {~0ull}, 0, 0); }),
         "tensor z has a dim of 18446744073709551615");
  expect(made([](GgufFile& f) { f.entry("z", {1, 1, 1, 1, 1, 1}, 0, 0); }), "tensor z has 6 dims");
  expect(made([](GgufFile& f) { f.entry("z", {33}, 8, 64); }), "tensor z is Q8_0 with rows of 33");
  expect(made([](GgufFile& f) { f.entry("z", {256}, 20, 64); }),
         "tensor z has type IQ4_NL; allowed: F32, F16, BF16");
  expect(made([](GgufFile& f) { f.entry("z", {256}, 4, 64); }),
         "tensor z has type 4, which is none of ggml's");
  expect(made([](GgufFile& f) { f.floats("x", {1}, {9}); }), "tensor x stands there twice");
  expect(made([](GgufFile& f) { f.data.resize(f.data.size() - 1); }), "tensor y claims 8 bytes");
}

TEST(Gguf, NoPrefixAndNoFlippedBitCrashes) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "m.gguf";
  const std::string good = small().bytes();
  for (std::size_t n = 0; n < good.size(); n += 2)
    EXPECT_NE(complaint(file, good.substr(0, n)), "") << "the first " << n << " bytes";
  const int refused = open_damaged(file, good, 300, 11, [&] { const GgufReader reader(file); });
  EXPECT_GT(refused, 60);
  std::mt19937 random(3);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << random() % 8));
    complaint(file, bad);
  }
}

}  // namespace
}  // namespace weft
