// Texts from files, one after another: .txt (a line, a paragraph or the whole file each), .jsonl
// (`field`, else `text` or `prompt`; optional `id`), .csv/.tsv (a named column, RFC 4180 quotes),
// .fasta/.fa/.faa/.fna (a record each), .smi/.smiles (a line's first word; the second is its id),
// each also as .gz; `-` is stdin (.txt, unless the first byte says JSONL or FASTA).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "core/fields.h"
#include "io/json.h"

namespace weft {

struct Document {
  std::string text;
  std::string id;         // FASTA header's first word, JSONL's id; else empty
  Json options;           // the whole JSONL object; null elsewhere
  std::int64_t line = 0;  // 1-based, where it began, for errors
  std::vector<Json> extras =
      {};  // values of the extra fields that were asked for; a table's are strings
};

// Another field or column that each document must have, and the option that names it.
struct ExtraField {
  std::string name, option;
};

// What one document of a .txt file is. Lines and paragraphs come without their last newline; \r\n
// becomes \n; empty ones are skipped.
enum class TextUnit : std::uint8_t {
  line,
  paragraph,  // lines between blank ones (nothing but spaces and tabs), their newlines kept
  file,
};
constexpr Word<TextUnit> kTextUnits[] = {
    {"line", TextUnit::line}, {"paragraph", TextUnit::paragraph}, {"file", TextUnit::file}};
inline TextUnit text_unit(const std::string& name) {
  return value_of(kTextUnits, "--documents", name);
}

// Bytes of a file, as it lies on disk: ranks share one by where its documents begin. Those outside
// are passed over, unparsed where that is possible. In a .gz the place is that of the block that a
// document begins in.
struct FilePart {
  std::int64_t begin = 0, end = INT64_MAX;
};

// Calls `each` in order. UserErrors name file and line: missing file, unknown ending (with the
// known ones), no such field (with those there), extra fields of files that have none.
void read_documents(const std::string& path, const std::string& field,
                    const std::function<void(Document&&)>& each, TextUnit unit = TextUnit::line,
                    FilePart part = {}, const std::vector<ExtraField>& extras = {});
std::vector<Document> read_documents(const std::string& path, const std::string& field,
                                     TextUnit unit = TextUnit::line);

}  // namespace weft
