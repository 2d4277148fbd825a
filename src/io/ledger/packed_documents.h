// What was read of a file of texts, packed to travel between ranks or to lie on a disk.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/documents.h"

namespace weft {

// A record that could not be read: its line in the file, and a sentence that says why.
struct RejectedRecord {
  std::int64_t line;
  std::string reason;
};
struct GivenTexts {
  std::vector<Document> documents;  // each has its id: its own, else its number
  std::vector<RejectedRecord> rejected;

  std::size_t size() const { return documents.size() + rejected.size(); }
};

// Counts what equal texts of an input draw, in their order (Document::earlier_draws), but for JSON
// lines with a key "seed"; of the batch lines of hosted services by their bodies. 64 bits of a
// checksum stand for a text.
class EqualTexts {
 public:
  // `each`: draws of a text whose line has no num_return_sequences.
  explicit EqualTexts(std::int64_t each) : each_(each) {}
  // How many there were before this document's.
  std::int64_t next(const Document& document);
  std::int64_t n_draws() const { return all_; }  // so far, of every document

 private:
  std::int64_t each_, all_ = 0;
  std::unordered_map<std::uint64_t, std::int64_t> n_;
};

// All but a document's extra fields.
std::string pack(const GivenTexts& given);
// Of what pack() gave; an Error where it is not that.
GivenTexts unpack(std::string_view packed);

}  // namespace weft
