#include "cli/embedding_file.h"

#include <cstring>
#include <filesystem>

#include "core/check.h"

namespace weft {
namespace {

constexpr const char* kVectors = "/embeddings";

Hdf5File create(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  CHECK_USER(folder.empty() || std::filesystem::is_directory(folder, error),
             "--out {}: there is no folder {}", path, folder.string());
  CHECK_USER(!std::filesystem::is_directory(path, error), "--out {}: is a folder, not a file",
             path);
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
  file_.write_strings("/ids", ids);
  file_.write_strings("/texts", texts);
  if (kind.pooling == "none") {
    const auto n = static_cast<std::int64_t>(offsets.size());
    file_.create_dataset("/offsets", DType::i64, {n});
    const FileRun run = {0, 0, n};
    file_.write("/offsets", ConstView(offsets.data(), Dims{n}), std::span(&run, 1));
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

}  // namespace weft
