// Documents that are rows of a table: CSV as RFC 4180 has it, or cells between separators alone.
#include <algorithm>

#include "core/check.h"
#include "core/utf8.h"
#include "io/document_readers.h"

namespace weft {
namespace {

class Records {
 public:
  Records(const DocumentReader& reader, char separator)
      : lines_(reader.lines), path_(reader.path), separator_(separator) {
    const std::string& quotes = reader.options.quotes;
    quoted_ = quotes.empty() ? separator == ',' : quotes == "double";
  }

  // The next record's cells; it may span lines. False at the end of the file.
  bool next(std::vector<std::string>& cells) {
    if (!lines_.next(line_)) return false;
    first_line_ = lines_.number();
    ours_ = lines_.ours();
    blank_ = line_.empty();
    n_ = 0;
    for (std::size_t at = 0;; ++at) {
      if (n_ == cells.size()) cells.emplace_back();
      std::string& cell = cells[n_++];
      cell.clear();
      if (quoted_ && at < line_.size() && line_[at] == '"') {
        at = read_quoted(cell, at + 1);
      } else {
        const std::size_t begin = at;
        at = std::min(line_.find(separator_, begin), line_.size());
        cell.assign(line_, begin, at - begin);
      }
      cell = made_utf8(std::move(cell));
      if (at == line_.size()) break;
    }
    cells.resize(n_);
    return true;
  }
  std::int64_t first_line() const { return first_line_; }  // of the last record
  bool ours() const { return ours_; }
  bool blank() const { return blank_; }  // whether it is an empty line

 private:
  // From behind the opening quote; returns the place behind the closing one.
  std::size_t read_quoted(std::string& cell, std::size_t at) {
    const std::int64_t opened = lines_.number();
    for (;;) {
      const std::size_t quote = line_.find('"', at);
      cell.append(line_, at, quote == std::string::npos ? quote : quote - at);
      lines_.check_size(cell.size(), opened);
      if (quote == std::string::npos) {
        if (lines_.cut_return()) cell += '\r';
        cell += '\n';
        CHECK_USER(lines_.next(line_),
                   "{}: the quote that opens in line {} is never closed; where quotes are "
                   "characters like others, say --quotes none",
                   path_, opened);
        at = 0;
      } else if (quote + 1 < line_.size() && line_[quote + 1] == '"') {
        cell += '"';
        at = quote + 2;
      } else {
        CHECK_USER(quote + 1 == line_.size() || line_[quote + 1] == separator_,
                   "{}: line {} has text behind the quote that closes a cell (opened in line {}); "
                   "a quote inside quotes is written twice, and where quotes are characters like "
                   "others, say --quotes none",
                   path_, lines_.number(), opened);
        return quote + 1;
      }
    }
  }

  Lines& lines_;
  const std::string& path_;
  char separator_;
  bool quoted_ = false, ours_ = true, blank_ = false;
  std::string line_;
  std::int64_t first_line_ = 0;
  std::size_t n_ = 0;  // cells of the record
};

// Where the columns stand that are asked for.
struct Columns {
  static constexpr auto kNone = static_cast<std::size_t>(-1);
  std::size_t text = kNone, id = kNone, pair = kNone;
  std::vector<std::size_t> extras;

  Columns(const DocumentReader& reader, const std::vector<std::string>& header) {
    const ReadOptions& o = reader.options;
    const auto place = [&](const std::string& name) {
      const auto column = std::find(header.begin(), header.end(), name);
      return column == header.end() ? kNone : static_cast<std::size_t>(column - header.begin());
    };
    const auto needed = [&](const std::string& name, const std::string& option) {
      const std::size_t at = place(name);
      CHECK_USER(at != kNone, "{}: has no column '{}' (choose one with {}); its columns: {}",
                 reader.path, name, option, fmt::join(header, ", "));
      return at;
    };
    text = needed(o.field.empty() ? "text" : o.field, "--field");
    for (const ExtraField& extra : o.extras) extras.push_back(needed(extra.name, extra.option));
    pair = o.pair_field.empty() ? place("text_pair") : needed(o.pair_field, "--pair-field");
    id = place("id");
  }
};

}  // namespace

void DocumentReader::table(char separator) {
  Records records(*this, separator);
  std::vector<std::string> header, cells;
  if (!records.next(header)) return;
  const Columns columns(*this, header);
  std::size_t last = columns.text;  // that a row must have
  for (const std::size_t place : columns.extras) last = std::max(last, place);
  if (!options.pair_field.empty()) last = std::max(last, columns.pair);
  for (; records.next(cells); ++number) {
    if (records.blank()) {  // a row of one empty cell, or of none
      if (header.size() > 1) --number;
      continue;
    }
    if (!records.ours()) continue;
    if (cells.size() > header.size()) {
      reject(records.first_line(),
             fmt::format(" has {} columns, but the header {}{}", cells.size(), header.size(),
                         separator == ',' ? " (a cell that holds a comma stands in quotes)" : ""));
      continue;
    }
    if (last >= cells.size()) {
      reject(records.first_line(), fmt::format(" has {} columns, but '{}' is column {}",
                                               cells.size(), header[last], last + 1));
      continue;
    }
    Document document = {.text = std::move(cells[columns.text])};
    document.line = records.first_line();
    document.number = number;
    document.is_row = true;
    for (const std::size_t place : columns.extras)
      document.extras.emplace_back(place == columns.text ? document.text : cells[place]);
    if (columns.id < cells.size())
      document.id = columns.id == columns.text ? document.text : cells[columns.id];
    // An empty cell is no second text.
    if (columns.pair < cells.size() && !cells[columns.pair].empty())
      document.pair = columns.pair == columns.text ? document.text : cells[columns.pair];
    each(std::move(document));
  }
}

}  // namespace weft
