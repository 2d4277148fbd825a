// safetensors: what is written is read back, and whatever a header claims is checked against the
// file.
#include "io/weights/safetensors.h"

#include <sys/resource.h>

#include <bit>
#include <cmath>
#include <csignal>

#include "io/json.h"
#include "tests/io/shared_folder.h"

namespace weft {
namespace {

using namespace test;
namespace fs = std::filesystem;

std::string file_of(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t size = header.size();
  std::string content(8, '\0');
  std::memcpy(content.data(), &size, 8);
  content += header;
  for (std::size_t i = 0; i < data_bytes; ++i) content += static_cast<char>(i);
  return content;
}

TensorToWrite tensor(const std::string& name, DType dtype, Dims shape, std::uint8_t seed) {
  return {name, dtype, shape, [seed](std::span<std::byte> out) {
            for (std::size_t i = 0; i < out.size(); ++i)
              out[i] = static_cast<std::byte>((i * 37 + seed) & 0x3F);
          }};
}

void expect_bytes(const StoredTensor& t, std::uint8_t seed) {
  const std::size_t n = static_cast<std::size_t>(t.shape.elems()) * dtype_bytes(t.dtype);
  for (std::size_t i = 0; i < n; ++i)
    ASSERT_EQ(t.data[i], static_cast<std::byte>((i * 37 + seed) & 0x3F)) << t.name << " byte " << i;
}

std::vector<TensorToWrite> some_tensors() {
  return {
      tensor("wte.weight", DType::f32, {7, 5}, 1), tensor("ln.bias", DType::bf16, {3}, 2),
      tensor("scalar", DType::f64, Dims{}, 3),     tensor("empty", DType::f16, {0, 4}, 4),
      tensor("mask", DType::u8, {1, 2, 3}, 5),     tensor("ids", DType::i64, {2, 2, 1, 2, 1}, 6),
      tensor("odd", DType::f16, {11}, 7)};
}

// A tensor of a file "model.safetensors" whose elements lie at `data`.
StoredTensor stored(const std::string& name, DType dtype, const Dims& shape, const void* data) {
  StoredTensor t;
  t.name = name;
  t.dtype = dtype;
  t.shape = shape;
  t.data = static_cast<const std::byte*>(data);
  t.file = "model.safetensors";
  return t;
}

TEST(Safetensors, RoundTripInOneFile) {
  const SharedFolder folder;
  const fs::path dir = folder.mine();
  auto tensors = some_tensors();
  write_safetensors(dir, tensors, 1 << 20, true);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir), fs::directory_iterator()), 1);
  for (const fs::path& path : {dir, dir / "model.safetensors"}) {
    const SafetensorsReader reader(path);
    ASSERT_EQ(reader.tensors().size(), tensors.size());
    std::uint8_t seed = 0;
    for (const TensorToWrite& t : tensors) {
      const StoredTensor* found = reader.find(t.name);
      ASSERT_TRUE(found) << t.name;
      EXPECT_EQ(found->dtype, t.dtype);
      EXPECT_EQ(found->shape, t.shape);
      expect_bytes(*found, ++seed);
    }
    EXPECT_EQ(reader.find("absent"), nullptr);
  }
  // What the reference implementation asks for: a header whose end is aligned, and a format.
  const std::string content = get(dir / "model.safetensors");
  std::uint64_t header = 0;
  std::memcpy(&header, content.data(), 8);
  EXPECT_EQ(header % 8, 0u);
  EXPECT_EQ(parse_json(content.substr(8, header))["__metadata__"]["format"], "pt");
}

TEST(Safetensors, ShardsHaveAnIndexAndReplaceOneFile) {
  const SharedFolder folder;
  const fs::path dir = folder.mine();
  auto tensors = some_tensors();
  write_safetensors(dir, tensors, 1 << 20, true);
  write_safetensors(dir, tensors, 100, true);  // wte alone has 140 bytes
  EXPECT_FALSE(fs::exists(dir / "model.safetensors"));
  const Json index = read_json_object(dir / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 140 + 6 + 8 + 0 + 6 + 64 + 22);
  EXPECT_EQ(index["weight_map"]["wte.weight"], "model-00001-of-00003.safetensors");
  EXPECT_EQ(index["weight_map"]["odd"], "model-00003-of-00003.safetensors");
  {
    const SafetensorsReader reader(dir);
    EXPECT_EQ(reader.tensors().size(), tensors.size());
    expect_bytes(*reader.find("odd"), 7);
    EXPECT_EQ(fs::path(reader.find("odd")->file).filename(), "model-00003-of-00003.safetensors");
  }
  write_safetensors(dir, tensors, 1 << 20, true);
  EXPECT_FALSE(fs::exists(dir / "model.safetensors.index.json"));
}

TEST(Safetensors, RanksThatDoNotWriteStillFill) {
  SharedFolder folder;
  std::vector<TensorToWrite> tensors;
  for (int i = 0; i < 5; ++i)
    tensors.push_back({fmt::format("t{}", i), DType::i64, {1}, [&](std::span<std::byte> out) {
                         const std::int64_t sum = folder.sum(
                             folder.rank() +
                             1);  // a collective: hangs or differs if a rank leaves one out
                         std::memcpy(out.data(), &sum, 8);
                       }});
  write_safetensors(folder.path(), tensors, 16, folder.rank() == 0);
  folder.barrier();
  const SafetensorsReader reader(folder.path());
  for (const auto& [name, t] : reader.tensors()) {
    std::int64_t value = 0;
    std::memcpy(&value, t.data, 8);
    EXPECT_EQ(value, folder.size() * (folder.size() + 1) / 2) << name;
  }
  EXPECT_EQ(reader.tensors().size(), 5u);
}

TEST(Safetensors, WidensEveryHalfExactly) {
  std::vector<std::uint16_t> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  std::string raw(1 + bits.size() * 2, '\0');  // unaligned on purpose
  std::memcpy(raw.data() + 1, bits.data(), bits.size() * 2);
  StoredTensor t = stored("t", DType::f16, {65536}, raw.data() + 1);
  std::vector<float> out(bits.size());
  const auto check = [&](auto to_wide) {
    read_elements(t, 0, 65536, out.data());
    for (std::size_t i = 0; i < bits.size(); ++i) {
      const float expected = to_wide(bits[i]);
      ASSERT_EQ(std::isnan(out[i]), std::isnan(expected)) << i;
      if (!std::isnan(expected)) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(out[i]), std::bit_cast<std::uint32_t>(expected))
            << i;  // the sign of zero too
      }
    }
  };
  check([](std::uint16_t b) { return to_float(Float16{b}); });
  t.dtype = DType::bf16;
  check([](std::uint16_t b) { return to_float(BFloat16{b}); });
}

TEST(Safetensors, ReadsPartsOfEveryFloat) {
  const double doubles[] = {1.5, -2.25, 1e300, 0.1};
  const StoredTensor f64 = stored("d", DType::f64, {4}, doubles);
  float out[3] = {};
  read_elements(f64, 1, 3, out);
  EXPECT_EQ(out[0], -2.25f);
  EXPECT_TRUE(std::isinf(out[1]));
  EXPECT_EQ(out[2], 0.1f);
  const float floats[] = {1, 2, 3, 4};
  const StoredTensor f32 = stored("s", DType::f32, {2, 2}, floats);
  read_elements(f32, 2, 2, out);
  EXPECT_EQ(out[0], 3);
  read_elements(f32, 4, 0, out);
  EXPECT_THROW(read_elements(f32, 3, 2, out), Error);
  EXPECT_THROW(read_elements(f32, -1, 2, out), Error);
  const StoredTensor ids = stored("ids", DType::i32, {4}, floats);
  expect_user_error([&] { read_elements(ids, 0, 4, out); }, {"model.safetensors", "ids", "I32"});
}

struct Fault {
  const char* header;
  std::size_t data_bytes;
  const char* word;  // in the message, beside the file's name
};

const Fault kFaults[] = {
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4, "tensor a"},  // truncated data
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 9,
     "9 bytes"},  // bytes of no tensor at the end
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "tensor a"},  // backwards
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,-8]}})", 8, "tensor a"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}})", 8, "tensor a"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8.0]}})", 8, "tensor a"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", 8, "tensor a"},
    {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":{"0":8}}})", 8, "tensor a"},
    {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8,
     "takes 12 bytes"},  // shape does not fit
    {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,8]}})", 8, "takes 4 bytes"},
    {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0,
     "tensor a"},  // product is 2^64, or 0
    {R"({"a":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}})", 4,
     "tensor a"},  // bytes wrap to 4
    {R"({"a":{"dtype":"F32","shape":[0,281474976710656,281474976710656,281474976710656])"
     R"(,"data_offsets":[0,4]}})",
     4, "tensor a"},
    {R"({"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}})", 8, "tensor a"},
    {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8, "tensor a"},
    {R"({"a":{"dtype":7,"shape":[8],"data_offsets":[0,8]}})", 8, "dtype 7"},
    {R"({"a":{"shape":[8],"data_offsets":[0,8]}})", 8, "tensor a"},
    {R"({"a":[1,2]})", 8, "tensor a"},
    {R"({"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"b":{"dtype":"U8","shape":[4])"
     R"(,"data_offsets":[4,8]}})",
     8, "overlaps"},
    {R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[4])"
     R"(,"data_offsets":[4,8]}})",
     8, "before tensor b"},
    {R"({"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", 8, "before tensor b"},
    {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4])"
     R"(,"data_offsets":[4,8]}})",
     8, "a stands in the header twice"},
    {R"({"a":{"dtype":"U8","dtype":"F32","shape":[4],"data_offsets":[0,4]}})", 4,
     "dtype stands in the header twice"},
    {R"([])", 0, "not a JSON object"},
    {R"({"a":)", 0, "not valid JSON"},
    {"{\"\xff\":1}", 0, "not valid JSON"},
    {R"({"a":1e999})", 0, "not valid JSON"},
};

// What no model of ours needs may be of any kind; it is refused where it is asked for.
TEST(Safetensors, TensorsOfUnknownTypesAreThereUntilTheyAreNeeded) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "weights.safetensors";
  put(file, file_of(R"({"a":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]},)"
                    R"("b":{"dtype":"F32","shape":[1,1,1,1,1,2],"data_offsets":[8,16]},)"
                    R"("c":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}})",
                    24));
  const SafetensorsReader reader(file);
  float out[2];
  read_elements(*reader.find("c"), 0, 2, out);
  expect_user_error([&] { read_elements(*reader.find("a"), 0, 0, out); },
                    {"weights.safetensors", "tensor a", "F8_E4M3"});
  expect_user_error([&] { read_elements(*reader.find("b"), 0, 0, out); },
                    {"weights.safetensors", "tensor b", "6 dims"});
}

TEST(Safetensors, EveryFaultOfTheHeaderIsNamed) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "weights.safetensors";
  for (const Fault& fault : kFaults) {
    SCOPED_TRACE(fault.header);
    put(file, file_of(fault.header, fault.data_bytes));
    expect_user_error([&] { SafetensorsReader reader(file); }, {"weights.safetensors", fault.word});
  }
}

TEST(Safetensors, AHeaderLengthThatLies) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "weights.safetensors";
  const std::string header = R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})";
  for (const std::uint64_t claim :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{header.size() - 1},
        std::uint64_t{header.size() + 1}, std::uint64_t{header.size() + 5}, std::uint64_t{1} << 40,
        std::uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 7}) {
    std::string content = file_of(header, 4);
    std::memcpy(content.data(), &claim, 8);
    put(file, content);
    expect_user_error([&] { SafetensorsReader reader(file); }, {"weights.safetensors"});
  }
  for (const std::size_t bytes : {0, 1, 7, 8, 9}) {
    put(file, file_of(header, 4).substr(0, bytes));
    expect_user_error([&] { SafetensorsReader reader(file); }, {"weights.safetensors"});
  }
  put(file, file_of(header, 4));
  EXPECT_EQ(SafetensorsReader(file).tensors().size(), 1u);
  // A header above the limit, in a (sparse) file that is large enough for it.
  std::string start(8, '\0');
  const std::uint64_t huge = 100'000'001;
  std::memcpy(start.data(), &huge, 8);
  put(file, start);
  fs::resize_file(file, 200'000'000);
  expect_user_error([&] { SafetensorsReader reader(file); }, {"weights.safetensors", "100000001"});
}

TEST(Safetensors, MissingFilesAndFolders) {
  const SharedFolder folder;
  const fs::path dir = folder.mine();
  expect_user_error([&] { SafetensorsReader reader(dir / "absent"); }, {"absent", "no such file"});
  expect_user_error([&] { SafetensorsReader reader(dir); },
                    {dir.string(), "model.safetensors.index.json"});
  fs::create_directories(dir / "model.safetensors");
  expect_user_error([&] { SafetensorsReader reader(dir); }, {"model.safetensors"});
}

TEST(Safetensors, AnIndexThatLies) {
  const SharedFolder folder;
  const fs::path dir = folder.mine(), index = dir / "model.safetensors.index.json";
  put(dir / "one.safetensors",
      file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4));
  put(dir / "two.safetensors",
      file_of(R"({"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4));
  put(dir / "again.safetensors",
      file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4));
  put(folder.mine().parent_path() / fmt::format("outside{}.safetensors", folder.rank()),
      file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4));
  const auto read = [&](const std::string& map) {
    put(index, "{\"weight_map\": " + map + "}");
    return SafetensorsReader(dir).tensors().size();
  };
  EXPECT_EQ(read(R"({"a": "one.safetensors", "b": "two.safetensors"})"), 2u);
  expect_user_error([&] { read(R"({"a": "none.safetensors"})"); },
                    {"index.json", "none.safetensors", "missing"});
  expect_user_error([&] { read(R"({"a": "one.safetensors", "c": "two.safetensors"})"); },
                    {"tensor c", "two.safetensors"});
  expect_user_error([&] { read(R"({"a": "two.safetensors", "b": "one.safetensors"})"); },
                    {"tensor a"});
  expect_user_error([&] { read(R"({"a": "one.safetensors", "b": "again.safetensors"})"); },
                    {"tensor a", "one.safetensors"});  // in two files
  expect_user_error(
      [&] { read(R"({"a": ")" + fmt::format("../outside{}.safetensors", folder.rank()) + "\"}"); },
      {"tensor a", "beside the index"});
  for (const char* path : {"/etc/hostname", "..", ".", "", "sub/one.safetensors",
                           "./one.safetensors", "one.safetensors\\u0000x"})
    expect_user_error([&] { read(fmt::format(R"({{"a": "{}"}})", path)); }, {dir.string()});
  expect_user_error([&] { read(R"({"a": 7})"); }, {"index.json", "tensor a"});
  expect_user_error([&] { read("{}"); }, {"index.json", "weight_map"});
  expect_user_error([&] { read("[]"); }, {"index.json", "weight_map"});
  put(index, "{}");
  expect_user_error([&] { SafetensorsReader reader(dir); }, {"index.json", "weight_map"});
}

TEST(Safetensors, DamagedFilesNeverCrash) {
  const SharedFolder folder;
  const fs::path dir = folder.mine(), file = dir / "model.safetensors";
  auto tensors = some_tensors();
  write_safetensors(dir, tensors, 1 << 20, true);
  const std::string whole = get(file);
  const int refused =
      open_damaged(file, whole, 900, static_cast<std::uint64_t>(folder.rank()) + 100, [&] {
        const SafetensorsReader reader(dir);
        std::vector<float> out;
        for (const auto& [name, t] : reader.tensors()) {  // what is given out lies inside the file
          unsigned sum = 0;
          for (std::size_t i = 0;
               i < static_cast<std::size_t>(t.shape.elems()) * dtype_bytes(t.dtype); ++i)
            sum += static_cast<unsigned>(t.data[i]);
          EXPECT_LT(sum, 1u << 30);
          if (t.dtype != DType::f32 && t.dtype != DType::bf16 && t.dtype != DType::f16) continue;
          out.resize(static_cast<std::size_t>(t.shape.elems()));
          read_elements(t, 0, t.shape.elems(), out.data());
        }
      });
  EXPECT_GT(refused, 300);
  EXPECT_LT(refused, 900);
}

TEST(Safetensors, AFullDiskLeavesTheOldFile) {
  const SharedFolder folder;
  const fs::path dir = folder.mine();
  std::vector<TensorToWrite> old = {tensor("a", DType::u8, {4}, 1)},
                             large = {tensor("b", DType::u8, {1 << 20}, 1)};
  write_safetensors(dir, old, 1 << 30, true);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 1 << 16;
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_THROW(write_safetensors(dir, large, 1 << 30, true), Error);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_TRUE(SafetensorsReader(dir).find("a"));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace weft
