// Files of torch.save (tests/data/loading, made by make_loading.py): every element, and what is
// refused, by name.
#include "io/weights/torch_file.h"

#include "io/json.h"
#include "io/weights/pickle.h"
#include "io/weights/zip_archive.h"
#include "tests/io/shared_folder.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

const fs::path kLoading = fs::path(WEFT_TEST_DATA) / "loading";

const Json& golden() {
  static const Json json = read_json_object(fs::path(WEFT_TEST_DATA) / "loading.json");
  return json.at("torch_files");
}

std::vector<float> elements_of(const StoredTensor& t) {
  std::vector<float> out(static_cast<std::size_t>(t.shape.elems()));
  read_elements(t, 0, t.shape.elems(), out.data());
  return out;
}

TEST(TorchFile, EveryTensorOfEveryKindOfFile) {
  for (const std::string file : {"tensors.bin", "protocol4.bin", "without_crc.bin"}) {
    const TorchReader reader(kLoading / file);
    for (const auto& [name, expected] : golden()["values"].items()) {
      const StoredTensor* tensor = reader.find(name);
      ASSERT_TRUE(tensor) << file << ": " << name;
      EXPECT_EQ(tensor->shape.str(), Dims(expected["shape"].get<std::vector<std::int64_t>>()).str())
          << name;
      EXPECT_EQ(elements_of(*tensor), expected["values"].get<std::vector<float>>())
          << file << ": " << name;
    }
    EXPECT_FALSE(reader.find("absent"));
  }
}

TEST(TorchFile, TensorsOfOtherTypesAreThereUntilTheyAreNeeded) {
  const TorchReader reader(kLoading / "tensors.bin");
  for (const auto& name : golden()["unreadable"].get<std::vector<std::string>>()) {
    const StoredTensor* tensor = reader.find(name);
    ASSERT_TRUE(tensor) << name;
    float out = 0;
    expect_user_error([&] { read_elements(*tensor, 0, 0, &out); }, {"tensors.bin", name});
  }
}

TEST(TorchFile, WhatIsNoStateDictIsNamedForWhatItIs) {
  const std::pair<const char*, const char*> kFiles[] = {
      {"runs.bin", "posix.system"},           {"module.bin", "torch.nn.modules.linear.Linear"},
      {"nested.bin", "epoch, state_dict"},    {"script.bin", "TorchScript"},
      {"legacy.bin", "before version 1.6"},   {"deflated.bin", "compressed"},
      {"llama_shards/config.json", "no zip"}, {"none.bin", "no such file"}};
  for (const auto& [file, word] : kFiles)
    expect_user_error([&] { TorchReader reader(kLoading / file); },
                      {fs::path(file).filename().string(), word});
}

TEST(TorchFile, ShardsAreOneModel) {
  const TorchReader reader(kLoading / "llama_shards");
  EXPECT_GT(reader.tensors().size(), 10u);
  const SharedFolder folder;
  const fs::path mine = folder.mine();
  for (const auto& entry : fs::directory_iterator(kLoading / "llama_shards"))
    fs::copy(entry.path(), mine);
  fs::remove(mine / "pytorch_model-00002-of-00002.bin");
  expect_user_error([&] { TorchReader again(mine); }, {"pytorch_model-00002-of-00002.bin"});
}

// A byte of a storage changes, and the tensor that needs it says so; the others are read.
TEST(TorchFile, ADamagedStorageIsFoundWhenItIsNeeded) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "pytorch_model.bin";
  std::string content = get(kLoading / "tensors.bin");
  const float values[] = {7, 8};
  const std::size_t at = content.find(std::string(reinterpret_cast<const char*>(values), 8));
  ASSERT_NE(at, std::string::npos);
  content[at] = '\x01';
  put(file, content);
  const TorchReader reader(file);
  expect_user_error([&] { reader.find("parameter"); }, {"pytorch_model.bin", "damaged", "CRC"});
  EXPECT_TRUE(reader.find("whole"));
}

TEST(TorchFile, EveryCutIsASentence) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "pytorch_model.bin";
  const std::string content = get(kLoading / "tensors.bin");
  for (std::size_t n = 0; n < content.size(); n += 7) {
    put(file, content.substr(0, n));
    expect_user_error([&] { TorchReader reader(file); }, {"pytorch_model.bin"});
  }
}

TEST(TorchFile, DamagedFilesAreReadOrRefused) {
  const SharedFolder folder;
  const fs::path file = folder.mine() / "pytorch_model.bin";
  const int refused = open_damaged(file, get(kLoading / "without_crc.bin"), 400, 11, [&] {
    const TorchReader reader(file);
    for (const auto& [name, tensor] : reader.tensors())
      if (tensor.unreadable.empty() && tensor.dtype == DType::f32) elements_of(tensor);
  });
  EXPECT_GT(refused, 100);
}

std::string pickled(std::string_view body) { return "\x80\x02" + std::string(body) + "."; }

Pickle unpickle(const std::string& text, std::vector<std::string>* names = nullptr) {
  return Pickle("p", std::as_bytes(std::span(text)), [names](std::string_view name) {
    if (names) names->emplace_back(name);
    return name == "good.one";
  });
}

TEST(Pickle, NumbersAndTexts) {
  using namespace std::string_literals;
  const std::pair<std::string, std::int64_t> kNumbers[] = {
      {"K\x07"s, 7},    {"M\x01\x02"s, 513},     {"J\xFF\xFF\xFF\xFF"s, -1},
      {"\x8a\x00"s, 0}, {"\x8a\x01\x80"s, -128}, {"\x8a\x02\x80\x00"s, 128},
      {"I12\n"s, 12},   {"L34L\n"s, 34},         {"\x88"s, 1},
      {"I00\n"s, 0}};
  for (const auto& [body, n] : kNumbers) EXPECT_EQ(unpickle(pickled(body)).root().integer, n);
  EXPECT_EQ(unpickle(pickled("G\x3F\xF8\0\0\0\0\0\0"s)).root().number, 1.5);
  EXPECT_EQ(unpickle(pickled("X\x02\0\0\0hi"s)).root().text, "hi");
}

TEST(Pickle, NoCodeRunsAndItsNameIsSaid) {
  const std::string_view kBodies[] = {"cos\nsystem\n(X\x02\0\0\0lstR",
                                      "\x8c\x02os\x8c\x06system\x93", "(ios\nsystem\n",
                                      "(cos\nsystem\nX\x02\0\0\0lso"};
  for (const std::string_view body : kBodies)
    expect_user_error([&] { unpickle(pickled(body)); }, {"os.system"});
  EXPECT_EQ(unpickle(pickled("cgood\none\n)R")).root().text, "good.one");
}

TEST(Pickle, WhatDoesNotFitIsASentence) {
  using namespace std::string_literals;
  for (const std::string& body :
       {""s, "R"s, "t"s, "h\x05"s, "X\xFF\xFF\xFF\xFF"s, "]K\x01s"s, "}K\x01K\x02K\x03u"s, "0"s,
        "\x95"s, "}(K\x01u"s, "K\x01)R"s, "Q"s, "\xFF"s, "(((("s, "b"s})
    expect_user_error([&] { unpickle(pickled(body)); }, {"p"});
  std::string deep(1 << 20, ')');  // a tuple in a tuple in a tuple
  for (char& c : deep) c = '\x85';
  EXPECT_EQ(unpickle(pickled(")" + deep)).root().kind, PickleKind::list);
}

TEST(ZipArchive, AnEntryOutsideTheFileIsRefused) {
  std::string content = get(kLoading / "tensors.bin");
  const std::size_t central = content.find("PK\x01\x02");
  ASSERT_NE(central, std::string::npos);
  const std::uint32_t large = 0x7FFFFFF0;
  for (const std::size_t field : {20u, 24u, 42u}) {
    std::string damaged = content;
    std::memcpy(damaged.data() + central + field, &large, 4);
    if (field < 42) std::memcpy(damaged.data() + central + 44 - field, &large, 4);
    expect_user_error([&] { ZipArchive archive("z", std::as_bytes(std::span(damaged))); }, {"z"});
  }
}

}  // namespace
}  // namespace weft::test
