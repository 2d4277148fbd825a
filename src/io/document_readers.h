// The readers of single formats, for documents.cpp.
#pragma once

#include "io/documents.h"

namespace weft {

// What the readers share: where they are, and who is told.
struct DocumentReader {
  Lines& lines;
  const std::string& path;
  const ReadOptions& options;
  const std::function<void(Document&&)>& each;
  std::int64_t number = 0;  // of the next record

  // A record that cannot be read. `what` follows "FILE: line N" (" has …", ": field …").
  void reject(std::int64_t line, const std::string& what) const;

  void text_lines();
  void paragraphs();
  void whole_file();
  void fasta();
  void smiles();
  void json_lines();
  void json_file();
  void table(char separator);
};

}  // namespace weft
