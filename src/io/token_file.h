// A tokenised corpus in one HDF5 file: /tokens (n) u16 or i32, documents joined, each closed by the end token;
// /document_offsets (n_documents + 1) i64; /tokenizer: its
// canonical JSON, so that a run needs no other file. Attributes: tokenizer_hash, vocab_size, val_fraction, format_version, task.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/hdf5.h"

namespace weft {

struct TokenFileInfo {
  std::string tokenizer_hash, task = "clm";
  std::string tokenizer;  // canonical JSON, may be empty in files of other tools
  std::int64_t vocab_size = 0;
  double val_fraction = 0;
  std::int64_t n_tokens = 0, n_documents = 0;
};

// This rank's consecutive documents; ranks' parts are joined in rank order. first_token/first_document and the totals come from the caller's
// prefix sums. Collective. The file appears under its name only when whole. `agree` is given this rank's error (or "") and throws, on every rank, the first there is.
struct TokenFilePart {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> document_lengths;  // end token included
  std::int64_t first_token = 0, first_document = 0;
};
void write_token_file(const std::filesystem::path& file, const TokenFileInfo& info, const TokenFilePart& part,
                      const void* mpi_comm, bool is_first_rank, const std::function<void(const std::string&)>& agree);

// Read by every rank on its own; tokens are read when asked for.
class TokenFile {
 public:
  explicit TokenFile(const std::filesystem::path& file);
  const TokenFileInfo& info() const { return info_; }
  const std::filesystem::path& path() const;
  // Tokens [0, train_tokens()) train, the rest validate; cut at a document's end.
  std::int64_t train_tokens() const { return train_tokens_; }
  // out[0, count) = tokens [begin, begin + count)
  void read(std::int64_t begin, std::int64_t count, std::int32_t* out) const;

 private:
  std::shared_ptr<Hdf5File> file_;
  TokenFileInfo info_;
  std::int64_t train_tokens_ = 0;
};

}  // namespace weft
