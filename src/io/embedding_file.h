// Vectors of texts in an HDF5 file that grows under its own name: /embeddings (n, C) fp32, /ids and
// /texts (strings); a vector for each token adds /offsets (n_texts + 1) i64, where each text's rows
// begin. Attributes: model, pooling, layer, normalize; rows: how many of /embeddings are there.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <vector>

#include "io/documents.h"
#include "io/hdf5/hdf5.h"

namespace weft {

struct EmbeddingKind {
  std::string model, pooling;
  std::int64_t layer = 0, width = 0;
  bool normalize = false;
};

class EmbeddingFile {
 public:
  // The whole file but its vectors. n_rows: of each document. UserErrors: its folder is missing.
  EmbeddingFile(const std::string& path, const EmbeddingKind& kind,
                const std::vector<Document>& documents, const std::vector<std::int64_t>& n_rows);
  // Rows of fp32, document after document. Now and then they are made the system's, so that a job
  // that is killed leaves what it had.
  void append(const std::string& bytes);
  void close();

 private:
  void flush();
  Hdf5File file_;
  std::int64_t width_, n_rows_ = 0;
  std::chrono::steady_clock::time_point flushed_ = std::chrono::steady_clock::now();
};

// Such a file with one vector a text, to be searched; rows are read as they are asked for.
class EmbeddingIndex {
 public:
  // UserErrors name the file and what it lacks: it is another kind of file, has a vector for each
  // token, or none at all.
  explicit EmbeddingIndex(const std::string& path);
  const EmbeddingKind& kind() const { return kind_; }
  std::int64_t n_rows() const { return n_rows_; }      // that are there
  std::int64_t n_texts() const { return n_texts_; }    // more where embed did not finish
  void read(std::int64_t first_row, View rows) const;  // (n, C) fp32
  std::vector<std::string> ids(std::span<const std::int64_t> rows) const;
  std::vector<std::string> texts(std::span<const std::int64_t> rows) const;

 private:
  Hdf5File file_;
  EmbeddingKind kind_;
  std::int64_t n_rows_ = 0, n_texts_ = 0;
};

}  // namespace weft
