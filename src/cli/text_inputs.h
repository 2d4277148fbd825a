// The texts of a command that runs whole texts through a model, tokenized, and which of them are
// this replica's.
#pragma once

#include <string>
#include <vector>

#include "cli/session.h"
#include "infer/text_pass.h"

namespace weft {

// The options of a command with a result for each text, which may be cut.
struct WholeTextOptions {
  ModelOptions model;
  TextOptions texts;
  bool truncation = false;
  void visit(FieldVisitor& v, const char* group);  // leaves v in the command's own group
  bool json() const { return texts.json || !texts.out.empty(); }
};

struct TextInputs {
  std::vector<Document> documents;   // all of them, on every rank
  std::vector<std::size_t> numbers;  // of this replica's among them
  std::vector<TokenizedText> texts;  // this replica's
  std::vector<Encoding> encodings;   // likewise
};

// Reads the documents and encodes them with special tokens; `pairs` (as many as texts, or none) and
// a JSONL line's text_pair are second texts. UserErrors: texts that are too long (they are cut
// instead with `truncate`), more pairs than texts. Collective.
TextInputs read_inputs(Session& session, const TextOptions& options,
                       const std::vector<std::string>& pairs = {}, bool truncate = false);

}  // namespace weft
