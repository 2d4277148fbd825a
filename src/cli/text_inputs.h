// The texts of a command that runs whole texts through a model, tokenized, and which of them are
// this replica's.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/rejects.h"
#include "cli/session.h"
#include "cli/texts.h"
#include "infer/text_pass.h"

namespace weft {

// The options of a command with a result for each text, which may be cut.
struct WholeTextOptions {
  ModelOptions model;
  TextOptions texts;
  FlagWord truncation = {"", {"right", "left"}};
  void visit(FieldVisitor& v, const char* group);  // leaves v in the command's own group
  bool json() const { return texts.as_lines(); }
};

struct TextInputs {
  std::vector<Document> documents;    // all that have a result, on every rank
  std::vector<std::int64_t> lengths;  // tokens of each
  std::size_t n_texts = 0;            // those that were rejected included
  Rejects rejects;                    // to be finished when the results are in place
  std::vector<std::size_t> numbers;   // of this replica's among the documents
  std::vector<TokenizedText> texts;   // this replica's
  std::vector<Encoding> encodings;    // likewise

  JobWork work(std::size_t t) const {  // that text t of this replica takes
    return {.prompt_tokens = static_cast<std::int64_t>(texts[t].ids.size())};
  }
};

// What a command asks of its texts.
struct InputRules {
  std::vector<std::string> pairs = {};  // --text-pair: one a text, or none
  std::string pair_field = {};          // of the second text in a file; empty: text_pair
  std::string truncation = {};          // right, left; empty: texts stay whole
  bool any_length = false;              // longer texts than the context are dealt with
  std::string way_out = {};             // for texts that are too long: "--truncation cuts it"
  TextUnit unit = TextUnit::line;       // what a text of a .txt file is
  // What a document is cut into; UserError where it is rejected. Unset: itself.
  std::function<std::vector<Document>(const Document&)> pieces = nullptr;
  // Why a text has no result; empty where it has.
  std::function<std::string(const Encoding&)> objection = nullptr;
};

// The documents on every rank; records that cannot be read are rejected. Collective.
std::vector<Document> read_documents(Session& session, const TextOptions& options,
                                     const TextWants& wants, Rejects& rejects);

// The text's tokens, with special ones. UserError where it has no result.
Encoding encode_text(const Session& session, const Document& document, const InputRules& rules);
// One more of this replica's texts.
void add_text(const Session& session, const Document& document, Encoding encoding, TextInputs& in);

// Reads the documents and encodes them with special tokens. A text that the tokenizer refuses, that
// is too long or objected to is rejected; UserErrors: all were, more pairs than texts. Collective.
TextInputs read_inputs(Session& session, const TextOptions& options, const InputRules& rules);

}  // namespace weft
