// A tokenised corpus in one HDF5 file: /tokens (n) u16 or i32, documents joined; /document_offsets
// (n_documents + 1) i64; /tokenizer: its canonical JSON, so that a run needs no other file.
// Attributes: tokenizer_hash, vocab_size, val_fraction, format_version, task; begin_tokens (ids
// with spaces between them; absent: none) and train_tokens (absent: by the documents' ends). Format
// 1 is of the task clm: each document begins with the begin tokens and is closed by the end token.
// Format 2 is of the others: documents are
// their content alone, and
//   /wrapping        JSON: what the tokenizer puts around one
//   /second_offsets  (n_documents) i64: where the second text of a pair begins; only with pairs
//   /problem         JSON, where there are labels: problem_type and id2label as in a config.json
//   /labels          (n_documents) i32: a class each; or
//   /targets         (n_documents, n_labels) fp32: 1 for each label that holds, or numbers
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "io/hdf5/hdf5.h"

namespace weft {

// What the tokenizer puts around a text, or around the two of a pair, and the token types of all of
// it.
struct Wrapping {
  struct Piece {
    std::vector<std::int32_t> ids, types;
    std::int64_t size() const { return static_cast<std::int64_t>(ids.size()); }
    bool operator==(const Piece&) const = default;
  };
  Piece before, between, behind;  // between: of a pair
  std::int32_t first_type = 0, second_type = 0;
  std::int64_t size() const { return before.size() + between.size() + behind.size(); }
  bool operator==(const Wrapping&) const = default;
};

// What the documents' labels are, as a config.json says it. Nothing: they have none.
struct LabelKind {
  std::string problem;  // single_label_classification, multi_label_classification, regression
  std::vector<std::string> names;  // one a label
  std::int64_t n_labels() const { return static_cast<std::int64_t>(names.size()); }
  bool single() const { return problem == "single_label_classification"; }
  bool operator==(const LabelKind&) const = default;
};

struct TokenFileInfo {
  std::string tokenizer_hash, task = "clm";
  std::string tokenizer;  // canonical JSON, may be empty in files of other tools
  std::int64_t vocab_size = 0;
  double val_fraction = 0;
  std::int64_t n_tokens = 0, n_documents = 0;
  // Format 1: what each document begins with; and how many tokens train, where the cut is not at
  // the end of a document (-1: it is).
  std::vector<std::int32_t> begin_tokens = {};
  std::int64_t train_tokens = -1;
  // Format 2.
  Wrapping wrapping = {};
  bool pairs = false;
  std::optional<LabelKind> labels = {};
};

// This rank's consecutive documents; ranks' parts are joined in rank order.
// first_token/first_document and the totals come from the caller's prefix sums.
struct TokenFilePart {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> document_lengths;  // end token included
  std::vector<std::int64_t> first_lengths;     // of a pair: tokens of its first text
  std::vector<std::int32_t> labels;            // one a document, or
  std::vector<float> targets;                  // n_labels a document
  std::int64_t first_token = 0, first_document = 0;
};
// The file appears under its name only when whole. Collective over `world`; what fails on one rank
// is thrown by all. UserError: no such place; Error: the disk is full, or fails.
void write_token_file(const std::filesystem::path& file, const TokenFileInfo& info,
                      const TokenFilePart& part, Communicator& world, Stream& stream);

// Read by every rank on its own; tokens are read when asked for. UserErrors name the file: it is
// no token file, or damaged. Error where it cannot be read.
class TokenFile {
 public:
  explicit TokenFile(const std::filesystem::path& file);
  const TokenFileInfo& info() const { return info_; }
  const std::filesystem::path& path() const;
  // Format 1: tokens [0, train_tokens()) train, the rest validate; cut at a document's end, or
  // where the file says.
  std::int64_t train_tokens() const { return train_tokens_; }
  // Format 2: documents [0, train_documents()) train, the rest validate.
  std::int64_t train_documents() const { return train_documents_; }
  std::int64_t begin(std::int64_t document) const {
    return offsets_[static_cast<std::size_t>(document)];
  }
  std::int64_t end(std::int64_t document) const {
    return offsets_[static_cast<std::size_t>(document) + 1];
  }
  std::int64_t second(std::int64_t document) const {
    return second_[static_cast<std::size_t>(document)];
  }  // where its second text begins
  std::int32_t label(std::int64_t document) const {
    return labels_[static_cast<std::size_t>(document)];
  }
  std::span<const float> targets(std::int64_t document) const {
    const auto n = static_cast<std::size_t>(info_.labels->n_labels());
    return std::span(targets_).subspan(static_cast<std::size_t>(document) * n, n);
  }
  // Of the documents' offsets, of some 64 blocks of tokens spread over the file, and of all that
  // stands beside them: equal for files of the same content, whatever made them.
  std::uint64_t checksum() const;
  // out[0, count) = tokens [begin, begin + count)
  void read(std::int64_t begin, std::int64_t count, std::int32_t* out) const;

 private:
  void read_format_1();
  void read_format_2();

  std::shared_ptr<Hdf5File> file_;
  TokenFileInfo info_;
  std::int64_t train_tokens_ = 0, train_documents_ = 0;
  std::uint64_t offsets_checksum_ = 0;
  std::vector<std::int64_t> offsets_, second_;  // format 2
  std::vector<std::int32_t> labels_;
  std::vector<float> targets_;
};

}  // namespace weft
