// A file of texts in blocks: where each begins, so that any process can read any of them without
// the others. Plain lines (.txt, .jsonl) are read where they lie; what has to be read from its
// beginning (packed, tables, FASTA, …) is read once and its texts lie beside.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "io/json.h"
#include "io/ledger/packed_documents.h"

namespace weft {

// A file's bytes as they lie: how many, and their checksum.
struct FileBytes {
  std::int64_t n = 0;
  std::uint64_t checksum = 0;
};
FileBytes bytes_of_file(const std::filesystem::path& file);

// How many texts the first blocks hold: `most`, fewer (but `least`) where that would leave some of
// `sharers` workers with little; of 0 workers `most`.
struct FirstBlocks {
  std::int64_t most = 8, sharers = 1, least = 1;
  std::int64_t size(std::int64_t n_texts) const;
  std::int64_t enough() const;  // texts of which size() is `most`
};

class InputBlocks {
 public:
  // Of `file`, read as `options` say. The more blocks there are, the larger they
  // become. `draws`: of each text, for EqualTexts; 0: nobody draws. Texts that
  // have to lie beside go to `beside`.
  // UserErrors are those of read_documents.
  static InputBlocks cut(const std::string& file, const ReadOptions& options,
                         const FirstBlocks& first, std::int64_t draws,
                         const std::filesystem::path& beside);
  // Of what json() gave.
  InputBlocks(const Json& json, const std::filesystem::path& beside);
  OrderedJson json() const;

  std::size_t n_blocks() const { return blocks_.size(); }
  std::int64_t n_texts() const;  // of all blocks, those that cannot be read included
  std::int64_t n_draws() const { return n_draws_; }  // of all texts; without any, texts
  std::int64_t n_texts(std::size_t block) const { return blocks_.at(block).n_texts; }

  // `options` as they were for cut(). An Error where the file is not the one that was cut.
  GivenTexts read(std::size_t block, const ReadOptions& options) const;

 private:
  // Bytes [begin, end) of the file or of what lies beside. `equal`: of texts that equal texts come
  // before, line and earlier draws.
  struct Block {
    std::int64_t begin = 0, end = 0, lines_before = 0, first_number = 0, n_texts = 0;
    std::vector<std::pair<std::int64_t, std::int64_t>> equal;
  };
  InputBlocks() = default;
  void cut_lines(const ReadOptions& options, bool json, std::int64_t size);
  void count_draws(const ReadOptions& options, std::int64_t draws);
  void lay_beside(const ReadOptions& options, const FirstBlocks& first, std::int64_t draws);
  std::int64_t most_texts(std::int64_t size) const;

  std::string file_;
  std::filesystem::path beside_;  // empty: texts are read where they lie
  std::int64_t size_ = 0;         // of the file
  std::int64_t n_draws_ = 0;
  std::vector<Block> blocks_;
};

}  // namespace weft
