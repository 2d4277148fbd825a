// Labels of documents as files spell them: a class, several classes, or numbers. All ranks' become
// one numbering.
#pragma once

#include <map>

#include "comm/communicator.h"
#include "io/json.h"
#include "io/token_file.h"

namespace weft {

// The labels of this rank's documents, one after another.
class LabelCollector {
 public:
  explicit LabelCollector(bool regression) : regression_(regression) {}

  // One document's: a JSON string, number, true or false; a list of them; in a table also "a;b".
  // `place` names file and line in UserErrors.
  void add(const Json& value, const std::string& place);
  // Names the classes of all ranks in order (numbers by their value), fills part.labels or
  // part.targets. Collective. UserErrors: one class alone, a document without a label among
  // documents with one each, numbers of different counts.
  LabelKind finish(Communicator& world, TokenFilePart& part, Stream& stream) const;

 private:
  LabelKind finish_numbers(Communicator& world, TokenFilePart& part, Stream& stream) const;

  bool regression_, several_ = false;
  std::vector<std::int64_t> counts_;  // labels of each document
  std::map<std::string, std::int32_t> ids_;
  std::vector<std::int32_t> labels_;  // by ids_, those of all documents joined
  std::vector<float> numbers_;
  std::string without_, uneven_;  // where the first document stands that has none; that has another
                                  // count than the first
};

}  // namespace weft
