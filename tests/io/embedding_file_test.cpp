// What embed writes, as a search reads it: rows, ids and texts, and what is no such file.
#include "io/embedding_file.h"

#include <cstring>

#include "tests/io/shared_folder.h"

namespace weft {
namespace {

using namespace test;

const EmbeddingKind kKind = {"model", "mean", 2, 3, true};

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::vector<Document> documents() {
  return {{.text = "one", .id = "a"}, {.text = "", .id = "b"}, {.text = "drei ß", .id = "c"}};
}

TEST(EmbeddingIndex, RowsIdsAndTextsInAnyOrder) {
  const SharedFolder folder;
  const std::string path = folder.mine() / "x.h5";
  EmbeddingFile file(path, kKind, documents(), {1, 1, 1});
  file.append(bytes_of({0, 1, 2, 3, 4, 5, 6, 7, 8}));
  file.close();
  const EmbeddingIndex index(path);
  EXPECT_EQ(index.n_rows(), 3);
  EXPECT_EQ(index.n_texts(), 3);
  EXPECT_EQ(index.kind().model, "model");
  EXPECT_EQ(index.kind().pooling, "mean");
  EXPECT_EQ(index.kind().layer, 2);
  EXPECT_EQ(index.kind().width, 3);
  EXPECT_TRUE(index.kind().normalize);
  std::vector<float> rows(6);
  index.read(1, View(rows.data(), Dims{2, 3}));
  EXPECT_EQ(rows, (std::vector<float>{3, 4, 5, 6, 7, 8}));
  const std::vector<std::int64_t> at = {2, 0, 1, 2};
  EXPECT_EQ(index.ids(at), (std::vector<std::string>{"c", "a", "b", "c"}));
  EXPECT_EQ(index.texts(at), (std::vector<std::string>{"drei ß", "one", "", "drei ß"}));
  EXPECT_TRUE(index.texts({}).empty());
}

TEST(EmbeddingIndex, KnowsHowManyRowsAreThere) {
  const SharedFolder folder;
  const std::string path = folder.mine() / "x.h5";
  EmbeddingFile file(path, kKind, documents(), {1, 1, 1});
  file.append(bytes_of({0, 1, 2, 3, 4, 5}));
  file.close();
  const EmbeddingIndex index(path);
  EXPECT_EQ(index.n_rows(), 2);
  EXPECT_EQ(index.n_texts(), 3);
}

std::string refusal(const std::string& path) {
  try {
    EmbeddingIndex index(path);
  } catch (const UserError& error) {
    return error.what();
  }
  return "none";
}

TEST(EmbeddingIndex, SaysWhatAFileLacks) {
  const SharedFolder folder;
  const std::string path = folder.mine() / "x.h5";
  EXPECT_EQ(refusal(path), path + ": no such file");
  EmbeddingFile(path, {.model = "m", .pooling = "none", .layer = 0, .width = 3}, documents(),
                {2, 0, 1})
      .close();
  EXPECT_EQ(refusal(path),
            path + ": has a vector for each token (--pooling none); a search needs one a text");
  EmbeddingFile(path, kKind, documents(), {1, 1, 1}).close();
  EXPECT_EQ(refusal(path), path + ": holds no vectors");
  const auto made = [&](const std::function<void(Hdf5File&)>& body) {
    Hdf5File file = Hdf5File::create(path);
    body(file);
    file.close();
    return refusal(path);
  };
  EXPECT_EQ(made([](Hdf5File& f) { f.create_dataset("/tokens", DType::i32, {3}); }),
            path + ": has no /embeddings; it is no file that weft embed --out wrote");
  const auto with = [&](DType dtype, const Dims& shape, std::int64_t rows) {
    return made([&](Hdf5File& f) {
      f.create_zeros("/embeddings", dtype, shape);
      f.write_strings("/ids", {"a", "b"});
      f.write_strings("/texts", {"a", "b"});
      f.set_attribute("/", "model", std::string("m"));
      f.set_attribute("/", "pooling", std::string("mean"));
      f.set_attribute("/", "layer", std::int64_t{0});
      f.set_attribute("/", "normalize", std::int64_t{0});
      f.set_attribute("/", "rows", rows);
    });
  };
  EXPECT_EQ(with(DType::f32, {2, 3}, 2), "none");
  EXPECT_EQ(with(DType::f64, {2, 3}, 2),
            path + ": /embeddings is (2, 3) fp64; allowed: (n, C) fp32");
  EXPECT_EQ(with(DType::f32, {3, 3}, 3), path + ": /ids is (2) beside 3 vectors");
  EXPECT_EQ(with(DType::f32, {2, 3}, 7),
            path + ": its attribute rows is 7, but /embeddings holds 2");
  EXPECT_EQ(made([](Hdf5File& f) {
              for (const char* name : {"/embeddings", "/ids", "/texts"})
                f.create_zeros(name, DType::f32, {2, 3});
            }),
            path + ": /ids is (2, 3) beside 2 vectors");
}

TEST(EmbeddingIndex, NumbersAreNoTexts) {
  const SharedFolder folder;
  const std::string path = folder.mine() / "x.h5";
  Hdf5File out = Hdf5File::create(path);
  out.create_zeros("/ids", DType::i64, {2});
  out.close();
  const Hdf5File in = Hdf5File::open(path);
  const std::vector<std::int64_t> at = {0};
  EXPECT_THROW(in.read_strings("/ids", at), UserError);
}

}  // namespace
}  // namespace weft
