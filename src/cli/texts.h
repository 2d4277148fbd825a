// The texts that a command is given, and where its results go.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"
#include "core/fields.h"
#include "io/documents.h"
#include "io/ledger/packed_documents.h"

namespace weft {

inline const Words kJobFormats{"txt", "jsonl", "json", "csv", "tsv", "fasta", "smi", "openai"};

struct TextOptions {
  std::vector<std::string> text, prompt;
  std::string in, field, format, quotes, out;
  bool json = false;
  void visit(FieldVisitor& v, bool with_prompt);
  void visit_inputs(FieldVisitor& v, bool with_prompt);   // all but out and json
  bool as_lines() const { return json || !out.empty(); }  // whether results are JSON lines
};

// What of a JSONL line or table row a command wants besides its text and id.
struct TextWants {
  bool options = false;            // the whole JSONL object
  std::int64_t draws = 0;          // of each text, whose earlier_draws are counted; 0: they are not
  std::string pair_field = {};     // of the second text; empty: text_pair, where there is one
  TextUnit unit = TextUnit::line;  // of a .txt file
};

// How --in is read.
ReadOptions read_options(const TextOptions& options, const TextWants& wants);

// UserError when there are none; what is given with --text and --prompt comes first.
GivenTexts read_texts(const TextOptions& options, const TextWants& wants = {});
// The same on every rank. Collective: rank 0 reads, since mpiexec gives stdin to it alone.
GivenTexts read_texts(const TextOptions& options, const TextWants& wants, Communicator& world,
                      Stream& stream);

// One line of results: `fields` with the document's id before them, as its file has it (7 stays a
// number, of any length).
std::string result_line(const Document& document, const OrderedJson& fields);

}  // namespace weft
