// Texts from files, one after another: .txt (a line each, empty lines skipped), .jsonl (`field`, else `text` or `prompt`; optional `id`), .csv/.tsv (a named column, RFC 4180
// quotes), .fasta/.fa/.faa/.fna (a record each), each also as .gz; `-` is stdin (.txt, unless the first byte says JSONL or FASTA).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "io/json.h"

namespace weft {

struct Document {
  std::string text;
  std::string id;            // FASTA header's first word, JSONL's id; else empty
  Json options;              // the whole JSONL object; null elsewhere
  std::int64_t line = 0;     // 1-based, where it began, for errors
};

// Calls `each` in order. UserErrors name file and line: missing file, unknown ending (with the known ones), no such field (with those there).
void read_documents(const std::string& path, const std::string& field, const std::function<void(Document&&)>& each);
std::vector<Document> read_documents(const std::string& path, const std::string& field);

}  // namespace weft
