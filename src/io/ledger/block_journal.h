// What is known of a block of texts: a record a result, a line each, appended as they come.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace weft {

enum class RecordKind : char {
  result = 'r',
  none = 'n',    // there is no such result, and the text is served
  reject = 'x',  // why the text is not
};

struct BlockRecord {
  RecordKind kind = RecordKind::result;
  std::int64_t prompt_tokens = 0, new_tokens = 0;  // that it took
  std::string line;                                // JSON, without its newline; empty: none
};

// By text of the block, and result of that text: from 0.
using RecordPlace = std::pair<std::int64_t, std::int64_t>;
using BlockRecords = std::map<RecordPlace, BlockRecord>;

// What the records of a block add up to.
struct RecordTotals {
  std::int64_t results = 0, rejected = 0, prompt_tokens = 0, new_tokens = 0;
  void add(const BlockRecord& record);
};

std::string record_line(const RecordPlace& place, const BlockRecord& record);  // with its newline
// Adds what a journal's text holds to those that are there, which stay. A line that is not whole,
// as a process or a machine left it that stopped there, and what follows it, counts for nothing.
void read_records(std::string_view journal, BlockRecords& records);

// Their lines in the order of texts and results, each with a newline: results, or rejects.
std::string lines_of(const BlockRecords& records, RecordKind kind);

}  // namespace weft
