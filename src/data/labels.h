// Labels of documents as files spell them: a class, several classes, or numbers. All ranks' become
// one numbering.
#pragma once

#include <compare>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "io/json.h"
#include "io/token_file.h"

namespace weft {

// The labels of this rank's documents, one after another.
//
// A label is one class, whatever characters it has. Numbers are compared by value, and true and
// false with them as Python does it: 1, 1.0 and true are one class, named by its shortest spelling.
// JSON says what is a number; cells of tables are where all of them are. Numbers beyond 64 bits
// keep their digits.
class LabelCollector {
 public:
  // separator: what parts several labels in a cell of a table; empty: each cell is one.
  explicit LabelCollector(bool regression, std::string separator = "")
      : regression_(regression), separator_(std::move(separator)) {}

  // One document's: a JSON string, number, true or false; a list of them; a table's cell (a
  // string). `place` names file and line in UserErrors.
  void add(const Json& value, bool is_cell, const std::string& place);
  // Names the classes of all ranks in order (numbers by their value), fills part.labels or
  // part.targets. Collective. UserErrors: one class alone, a document without a label among
  // documents with one each, numbers of different counts.
  LabelKind finish(Communicator& world, TokenFilePart& part, Stream& stream) const;

 private:
  enum class Form : std::uint8_t { text, cell, number };
  struct Label {
    std::string spelling;
    Form form = Form::text;
    auto operator<=>(const Label&) const = default;
  };
  LabelKind finish_numbers(Communicator& world, TokenFilePart& part, Stream& stream) const;
  std::vector<Label> labels_of(const Json& value, bool is_cell, const std::string& place);
  void add_numbers(const std::vector<Label>& labels, const std::string& place);
  std::vector<Label> labels_of_all(Communicator& world, Stream& stream) const;

  bool regression_, several_ = false;
  std::string separator_;
  std::vector<std::int64_t> counts_;  // labels of each document
  std::map<Label, std::int32_t> ids_;
  std::vector<std::int32_t> labels_;  // by ids_, those of all documents joined
  std::vector<float> numbers_;
  std::string without_, uneven_;  // where the first document stands that has none; that has another
                                  // count than the first
};

}  // namespace weft
