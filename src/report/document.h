// A report before it has a form: sections of paragraphs, tables, charts and listings, which the
// renderers (text, Markdown, HTML) print each in their way.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace weft::report {

struct TableColumn {
  std::string title;
  bool number = true;  // stands to the right
  int priority = 0;    // a narrow table leaves out the highest first; 0 stays
};

struct TableRow {
  std::vector<std::string> cells;
  bool note = false;  // cells: the run, and a sentence in place of the other columns
};

struct Table {
  std::vector<TableColumn> columns;
  std::vector<TableRow> rows;
};

// Takes out the columns in which all rows (notes apart) have the same, the first column never:
// "threads 8, device cpu".
std::string take_shared(Table& table);

struct Block {
  enum class Kind { paragraph, table, chart, listing } kind = Kind::paragraph;
  std::string text;  // of a paragraph or a listing; SVG of a chart
  Table table;
};

struct Section {
  std::string title;
  std::vector<Block> blocks;
  bool long_forms_only = false;  // not on the terminal

  void paragraph(std::string text) {
    blocks.push_back({Block::Kind::paragraph, std::move(text), {}});
  }
  void listing(std::string text) { blocks.push_back({Block::Kind::listing, std::move(text), {}}); }
  void chart(std::string svg) {
    if (!svg.empty()) blocks.push_back({Block::Kind::chart, std::move(svg), {}});
  }
  // Columns that no row fills are left out; nothing where there are no rows.
  void add(Table table);
};

struct Document {
  std::string title;
  std::vector<Section> sections;
};

std::string as_text(const Document& document);  // of at most 100 columns
std::string as_markdown(const Document& document);
std::string as_html(const Document& document);  // one file that needs no other

}  // namespace weft::report
