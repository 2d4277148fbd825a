#include <algorithm>
#include <string_view>

#include "core/utf8.h"
#include "report/document.h"

namespace weft::report {
namespace {

// Nothing in a name is markup, nor ends a cell.
std::string escape_markdown(const std::string& text) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '<' || c == '>' || c == '&')
      out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&amp;";
    else
      out += std::string_view("\\|`*[]~$").find(c) != std::string_view::npos ? std::string("\\") + c
                                                                             : std::string(1, c);
  }
  return out;
}

std::string table_markdown(const Table& table) {
  std::string out = "|", rule = "|";
  for (const TableColumn& column : table.columns) {
    out += " " + escape_markdown(column.title) + " |";
    rule += column.number ? " ---: |" : " --- |";
  }
  out += "\n" + rule + "\n";
  for (const TableRow& row : table.rows) {
    out += "|";
    for (const std::string& cell : row.cells) out += " " + escape_markdown(cell) + " |";
    for (std::size_t i = row.cells.size(); i < table.columns.size(); ++i) out += " |";
    out += "\n";
  }
  return out;
}

// A fence is longer than any run of backticks within.
std::string listing_markdown(const std::string& text) {
  std::size_t longest = 2, run = 0;
  for (const char c : text) longest = std::max(longest, run = c == '`' ? run + 1 : 0);
  const std::string fence(longest + 1, '`');
  return fence + "\n" + text + "\n" + fence + "\n";
}

}  // namespace

std::string as_markdown(const Document& document) {
  std::string out = "# " + escape_markdown(document.title) + "\n";
  for (const Section& section : document.sections) {
    std::string body;
    for (const Block& block : section.blocks) {
      if (block.kind == Block::Kind::table) body += "\n" + table_markdown(block.table);
      if (block.kind == Block::Kind::paragraph) body += "\n" + escape_markdown(block.text) + "\n";
      if (block.kind == Block::Kind::listing) body += "\n" + listing_markdown(block.text);
    }
    if (!body.empty()) out += "\n## " + escape_markdown(section.title) + "\n" + body;
  }
  return out;
}

}  // namespace weft::report
