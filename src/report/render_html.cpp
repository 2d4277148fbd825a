#include <fmt/format.h>

#include <algorithm>

#include "core/utf8.h"
#include "io/html.h"
#include "report/amounts.h"
#include "report/document.h"
#include "report/style.h"

namespace weft::report {
namespace {

constexpr std::size_t kLongCell = 32;  // characters; longer ones are broken into lines

std::string table_html(const Table& table) {
  const auto cell = [&](const char* tag, std::size_t i, const std::string& text) {
    const bool is_long = columns_of(text) > kLongCell && *tag == 't' && tag[1] == 'd';
    return fmt::format("<{0}{1}>{2}</{0}>", tag,
                       table.columns[i].number ? " class=\"n\""
                       : is_long               ? " class=\"long\""
                                               : "",
                       escape_html(text));
  };
  std::string out = "<div class=\"wide\"><table>\n<thead><tr>";
  for (std::size_t i = 0; i < table.columns.size(); ++i)
    out += cell("th", i, table.columns[i].title);
  out += "</tr></thead>\n<tbody>\n";
  for (const TableRow& row : table.rows) {
    out += row.note ? "<tr class=\"note\">" : "<tr>";
    if (row.note)
      out += fmt::format("{}<td colspan=\"{}\">{}</td>", cell("td", 0, row.cells[0]),
                         table.columns.size() - 1, escape_html(row.cells[1]));
    else
      for (std::size_t i = 0; i < row.cells.size(); ++i) out += cell("td", i, row.cells[i]);
    out += "</tr>\n";
  }
  return out + "</tbody>\n</table></div>\n";
}

}  // namespace

std::string as_html(const Document& document) {
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta "
      "name=\"color-scheme\" content=\"light dark\">\n<title>{0}</title>\n<style>\n{1}</style>\n"
      "</head>\n<body>\n<h1>{0}</h1>\n",
      escape_html(document.title), kReportStyle);
  for (const Section& section : document.sections) {
    out += fmt::format("<section>\n<h2>{}</h2>\n", escape_html(section.title));
    for (const Block& block : section.blocks) {
      switch (block.kind) {
        case Block::Kind::paragraph:
          out += fmt::format("<p>{}</p>\n", escape_html(block.text));
          break;
        case Block::Kind::table:
          out += table_html(block.table);
          break;
        case Block::Kind::chart:
          out += "<figure>\n" + block.text + "</figure>\n";
          break;
        case Block::Kind::listing: {
          std::string lines;  // its line ends stay
          for (std::size_t at = 0; at <= block.text.size();) {
            const std::size_t end = std::min(block.text.find('\n', at), block.text.size());
            lines += escape_html(block.text.substr(at, end - at)) + "\n";
            at = end + 1;
          }
          out += "<pre>" + lines + "</pre>\n";
          break;
        }
      }
    }
    out += "</section>\n";
  }
  return out + "</body>\n</html>\n";
}

}  // namespace weft::report
