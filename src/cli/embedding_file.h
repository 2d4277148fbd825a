// Vectors of texts in an HDF5 file that grows under its own name: /embeddings (n, C) fp32, /ids and
// /texts (strings); a vector for each token adds /offsets (n_texts + 1) i64, where each text's rows
// begin. Attributes: model, pooling, layer, normalize; rows: how many of /embeddings are there.
#pragma once

#include <chrono>
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

}  // namespace weft
