#include <fmt/format.h>

#include <algorithm>

#include "core/utf8.h"
#include "report/amounts.h"
#include "report/document.h"

namespace weft::report {
namespace {

constexpr std::size_t kWidth = 100;
constexpr std::size_t kWidestName = 32;

std::string padded(const std::string& text, std::size_t width, bool right) {
  const std::size_t columns = columns_of(text);
  const std::string space(width > columns ? width - columns : 0, ' ');
  return right ? space + text : text + space;
}

// The words in lines of at most kWidth columns; a word that is longer stands alone, cut.
std::string wrapped(const std::string& text) {
  std::string out, line;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = shortened(text.substr(at, end - at), kWidth);
    if (!line.empty() && columns_of(line) + 1 + columns_of(word) > kWidth) {
      out += line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
    at = end + 1;
  }
  return out + line + "\n";
}

std::string cell_text(const TableRow& row, std::size_t column) {
  const std::string text = printable(row.cells[column]);
  return column == 0 ? shortened(text, kWidestName) : text;
}

std::vector<std::size_t> widths_of(const Table& table) {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    std::size_t width = columns_of(table.columns[i].title);
    for (const TableRow& row : table.rows)
      if (i == 0 || !row.note) width = std::max(width, columns_of(cell_text(row, i)));
    widths.push_back(width);
  }
  return widths;
}

// The columns that fit beside each other.
std::vector<std::size_t> fitting(const Table& table, const std::vector<std::size_t>& widths) {
  std::vector<std::size_t> shown;
  std::size_t total = 0;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    shown.push_back(i);
    total += widths[i] + (i > 0 ? 2 : 0);
  }
  while (total > kWidth) {  // those of one priority go together
    int last = 0;
    for (const std::size_t i : shown) last = std::max(last, table.columns[i].priority);
    if (last == 0) break;
    for (const std::size_t i : shown)
      if (table.columns[i].priority == last) total -= widths[i] + 2;
    std::erase_if(shown, [&](std::size_t i) { return table.columns[i].priority == last; });
  }
  return shown;
}

std::string table_text(const Table& table) {
  const std::vector<std::size_t> widths = widths_of(table), shown = fitting(table, widths);
  const auto line = [&](const auto& cell) {
    std::string out;
    for (const std::size_t i : shown)
      out += (i > 0 ? "  " : "") + padded(cell(i), widths[i], table.columns[i].number);
    out.erase(out.find_last_not_of(' ') + 1);
    return out + "\n";
  };
  std::string out = line([&](std::size_t i) { return table.columns[i].title; });
  for (const TableRow& row : table.rows) {
    if (!row.note) {
      out += line([&](std::size_t i) { return cell_text(row, i); });
      continue;
    }
    const std::size_t room = kWidth - std::min(kWidth, widths[0] + 2);
    out += padded(cell_text(row, 0), widths[0], false) + "  " +
           shortened(printable(row.cells[1]), room) + "\n";
  }
  return out;
}

}  // namespace

std::string as_text(const Document& document) {
  std::string out;
  for (const Section& section : document.sections) {
    if (section.long_forms_only) continue;
    std::string body;
    for (const Block& block : section.blocks) {
      if (block.kind == Block::Kind::chart) continue;
      body += body.empty() ? "" : "\n";
      if (block.kind == Block::Kind::table) body += table_text(block.table);
      if (block.kind == Block::Kind::paragraph) body += wrapped(printable(block.text));
      if (block.kind == Block::Kind::listing) body += block.text + "\n";
    }
    if (body.empty()) continue;
    out += fmt::format("{}{}\n\n{}", out.empty() ? "" : "\n", section.title, body);
  }
  return out;
}

}  // namespace weft::report
