// Texts from files, one after another: .txt (a line, a paragraph or the whole file each), .jsonl
// (`field`, else `text` or `prompt`; optional `id`, `text_pair`), .json (such objects, or a list of
// them), .csv/.tsv (a named column), .fasta/.fa/.fas/.fna/.faa/.ffn/.frn (a record each),
// .smi/.smiles (a line's first word; the second is its id). Endings in any case, each also with
// .gz. "-", /dev/stdin and pipes are .txt unless a format is named, or stdin is redirected from a
// file whose ending says it: nothing is guessed from what they hold.
//
// Whatever is read is valid UTF-8 from here on: bytes that are not become U+FFFD.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/fields.h"
#include "io/json.h"
#include "io/lines.h"

namespace weft {

struct Document {
  std::string text;
  std::string id = {};             // FASTA header's first word, the id of JSONL, table or SMILES
  std::string id_json = {};        // JSONL's id as it stands, where it is no string: 7, 1.50
  Json options = nullptr;          // the whole JSONL object, where it was asked for
  std::int64_t line = 0;           // 1-based, where it began, for errors; 0: of no file
  std::int64_t number = 0;         // 0-based, among the records of its file, whatever is empty
  std::int64_t earlier_draws = 0;  // of equal texts before it, where somebody counted
  std::vector<Json> extras = {};   // values of the extra fields; a table's are strings
  bool is_row = false;             // of a table
  std::optional<std::string> pair = {};  // the second text of a pair
};

// Another field or column that each document must have, and the option that names it.
struct ExtraField {
  std::string name, option;
};

// What one document of a .txt file is. Lines and paragraphs come without their last newline; \r\n
// becomes \n; empty ones are skipped, but lines that are count in a document's number.
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

inline const Words kFormats{"txt", "jsonl", "json", "csv", "tsv", "fasta", "smi"};
inline const Words kQuotes{"none", "double"};

// How a file is read.
struct ReadOptions {
  std::string field = {};   // that holds the text; empty: text (JSONL: else prompt)
  std::string format = {};  // txt, jsonl, json, csv, tsv, fasta, smi; empty: by the file's ending
  // Of tables: "double" as RFC 4180, "none" where they are characters like others. Empty: double
  // for csv, none for tsv.
  std::string quotes = {};
  std::string pair_field = {};  // that holds the second text; empty: text_pair, where there is one
  TextUnit unit = TextUnit::line;
  FilePart part = {};
  std::int64_t first_number = 0;  // of the first record that is read, where part.lines_before
  std::vector<ExtraField> extras = {};
  bool keep_options = false;
  std::int64_t max_bytes = kMaxDocumentBytes;  // of a document
  // Told of a record that cannot be read, which is passed over: its line, and the sentence that
  // says why ("a.jsonl: line 3 has no field 'text'"). Unset: that is a UserError.
  std::function<void(std::int64_t line, const std::string& sentence)> reject = nullptr;
};
// UserErrors name the option, the value and what is allowed.
void check_read_options(const ReadOptions& options);

// Calls `each` in order. UserErrors name file and line: missing file, unknown ending (with the
// known ones), no such field (with those there), extra fields of files that have none, a table
// whose quotes are not those of RFC 4180, records that cannot be read. Errors: a file that cannot
// be opened or read. Texts may be empty where the file has records.
void read_documents(const std::string& path, const ReadOptions& options,
                    const std::function<void(Document&&)>& each);
std::vector<Document> read_documents(const std::string& path, const ReadOptions& options = {});

// What a file holds as it is read: txt, jsonl, …; "txt" of a stream, empty where nothing says it.
std::string format_of(const std::string& path, const ReadOptions& options);

// Whether a path is stdin, a pipe or another stream: what can be read only once, by one rank.
bool is_stream(const std::string& path);

}  // namespace weft
