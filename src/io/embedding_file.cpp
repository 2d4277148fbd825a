#include "io/embedding_file.h"

#include <cstring>

#include "core/check.h"
#include "io/files.h"

namespace weft {
namespace {

constexpr const char *kVectors = "/embeddings", *kIds = "/ids", *kTexts = "/texts",
                     *kOffsets = "/offsets";

Hdf5File create(const std::string& path) {
  check_place("--out", path);
  return Hdf5File::create(path);
}

}  // namespace

EmbeddingFile::EmbeddingFile(const std::string& path, const EmbeddingKind& kind,
                             const std::vector<Document>& documents,
                             const std::vector<std::int64_t>& n_rows)
    : file_(create(path)), width_(kind.width) {
  std::vector<std::int64_t> offsets = {0};
  for (const std::int64_t n : n_rows) offsets.push_back(offsets.back() + n);
  std::vector<std::string> ids, texts;
  for (const Document& d : documents) {
    ids.push_back(d.id);
    texts.push_back(d.text);
  }
  file_.create_dataset(kVectors, DType::f32, {offsets.back(), width_});
  file_.write_strings(kIds, ids);
  file_.write_strings(kTexts, texts);
  if (kind.pooling == "none") {
    const auto n = static_cast<std::int64_t>(offsets.size());
    file_.create_dataset(kOffsets, DType::i64, {n});
    const FileRun run = {0, 0, n};
    file_.write(kOffsets, ConstView(offsets.data(), Dims{n}), std::span(&run, 1));
  }
  file_.set_attribute("/", "model", kind.model);
  file_.set_attribute("/", "pooling", kind.pooling);
  file_.set_attribute("/", "layer", kind.layer);
  file_.set_attribute("/", "normalize", std::int64_t{kind.normalize});
  flush();
}

void EmbeddingFile::append(const std::string& bytes) {
  const auto n = static_cast<std::int64_t>(bytes.size() / sizeof(float));
  if (n == 0) return;
  std::vector<float> values(static_cast<std::size_t>(n));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  const FileRun run = {n_rows_ * width_, 0, n};
  file_.write(kVectors, ConstView(values.data(), Dims{n}), std::span(&run, 1));
  n_rows_ += n / width_;
  if (std::chrono::steady_clock::now() - flushed_ > std::chrono::seconds(1)) flush();
}

void EmbeddingFile::flush() {
  file_.set_attribute("/", "rows", n_rows_);
  file_.flush();
  flushed_ = std::chrono::steady_clock::now();
}

void EmbeddingFile::close() {
  flush();
  file_.close();
}

EmbeddingIndex::EmbeddingIndex(const std::string& path) : file_(Hdf5File::open(path)) {
  for (const char* name : {kVectors, kIds, kTexts})
    CHECK_USER(file_.exists(name), "{}: has no {}; it is no file that weft embed --out wrote", path,
               name);
  CHECK_USER(!file_.exists(kOffsets),
             "{}: has a vector for each token (--pooling none); a search needs one a text", path);
  const Dims shape = file_.shape(kVectors);
  CHECK_USER(shape.rank() == 2 && file_.dtype(kVectors) == DType::f32,
             "{}: {} is {} {}; allowed: (n, C) fp32", path, kVectors, shape.str(),
             dtype_name(file_.dtype(kVectors)));
  n_texts_ = shape[0];
  for (const char* name : {kIds, kTexts})
    CHECK_USER(file_.shape(name) == (Dims{n_texts_}), "{}: {} is {} beside {} vectors", path, name,
               file_.shape(name).str(), n_texts_);
  kind_ = {.model = file_.string_attribute("/", "model"),
           .pooling = file_.string_attribute("/", "pooling"),
           .layer = file_.integer_attribute("/", "layer"),
           .width = shape[1],
           .normalize = file_.integer_attribute("/", "normalize") != 0};
  n_rows_ = file_.has_attribute("/", "rows") ? file_.integer_attribute("/", "rows") : n_texts_;
  CHECK_USER(n_rows_ >= 0 && n_rows_ <= n_texts_, "{}: its attribute rows is {}, but {} holds {}",
             path, n_rows_, kVectors, n_texts_);
  CHECK_USER(n_rows_ > 0, "{}: holds no vectors", path);
}

void EmbeddingIndex::read(std::int64_t first_row, View rows) const {
  const FileRun run = {first_row * kind_.width, 0, rows.elems()};
  file_.read(kVectors, rows, std::span(&run, 1));
}

std::vector<std::string> EmbeddingIndex::ids(std::span<const std::int64_t> rows) const {
  return file_.read_strings(kIds, rows);
}

std::vector<std::string> EmbeddingIndex::texts(std::span<const std::int64_t> rows) const {
  return file_.read_strings(kTexts, rows);
}

}  // namespace weft
