#include "io/ledger/block_journal.h"

#include <fmt/format.h>

#include <charconv>

namespace weft {
namespace {

// A number and the tab behind it; false where there is none.
bool take_number(std::string_view& line, std::int64_t& number) {
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), number);
  const auto n = static_cast<std::size_t>(end - line.data());
  if (error != std::errc() || n == line.size() || line[n] != '\t') return false;
  line.remove_prefix(n + 1);
  return true;
}

bool take_record(std::string_view line, BlockRecords& records) {
  RecordPlace place;
  BlockRecord record;
  if (!take_number(line, place.first) || !take_number(line, place.second)) return false;
  if (line.size() < 2 || line[1] != '\t' || std::string_view("rnx").find(line[0]) > 2) return false;
  record.kind = static_cast<RecordKind>(line[0]);
  line.remove_prefix(2);
  if (!take_number(line, record.prompt_tokens) || !take_number(line, record.new_tokens))
    return false;
  const bool whole = line.starts_with('{') && line.ends_with('}');
  if (whole != (record.kind != RecordKind::none)) return false;
  record.line = line;
  records.emplace(place, std::move(record));
  return true;
}

}  // namespace

void RecordTotals::add(const BlockRecord& record) {
  results += record.kind == RecordKind::result;
  rejected += record.kind == RecordKind::reject;
  prompt_tokens += record.prompt_tokens;
  new_tokens += record.new_tokens;
}

std::string record_line(const RecordPlace& place, const BlockRecord& r) {
  return fmt::format("{}\t{}\t{}\t{}\t{}\t{}\n", place.first, place.second,
                     static_cast<char>(r.kind), r.prompt_tokens, r.new_tokens, r.line);
}

void read_records(std::string_view journal, BlockRecords& records) {
  for (std::size_t end; (end = journal.find('\n')) != std::string_view::npos;) {
    if (!take_record(journal.substr(0, end), records)) return;
    journal.remove_prefix(end + 1);
  }
}

std::string lines_of(const BlockRecords& records, RecordKind kind) {
  std::string lines;
  for (const auto& [place, record] : records)
    if (record.kind == kind && !record.line.empty()) lines += record.line + '\n';
  return lines;
}

}  // namespace weft
