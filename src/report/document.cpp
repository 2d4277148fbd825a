#include "report/document.h"

#include <algorithm>

#include "report/amounts.h"

namespace weft::report {
namespace {

void take_column(Table& table, std::size_t column) {
  const auto at = static_cast<std::ptrdiff_t>(column);
  table.columns.erase(table.columns.begin() + at);
  for (TableRow& row : table.rows)
    if (!row.note) row.cells.erase(row.cells.begin() + at);
}

bool is_filled(const std::string& cell) { return cell != kNothing && !cell.empty(); }

}  // namespace

std::string take_shared(Table& table) {
  std::string shared;
  const auto first = std::find_if(table.rows.begin(), table.rows.end(),
                                  [](const TableRow& row) { return !row.note; });
  if (first == table.rows.end()) return shared;
  for (std::size_t i = 1; i < table.columns.size();) {
    const std::string value = first->cells[i];
    if (std::any_of(table.rows.begin(), table.rows.end(),
                    [&](const TableRow& row) { return !row.note && row.cells[i] != value; })) {
      ++i;
      continue;
    }
    if (is_filled(value))
      shared += (shared.empty() ? "" : ", ") + table.columns[i].title + " " + value;
    take_column(table, i);
  }
  return shared;
}

void Section::add(Table table) {
  if (table.rows.empty()) return;
  for (std::size_t i = table.columns.size(); i-- > 1;) {
    const bool filled = std::any_of(table.rows.begin(), table.rows.end(), [&](const TableRow& row) {
      return !row.note && is_filled(row.cells[i]);
    });
    if (!filled) take_column(table, i);
  }
  if (table.columns.size() == 1)  // notes alone
    table.columns.push_back({"", false, 0});
  blocks.push_back({Block::Kind::table, "", std::move(table)});
}

}  // namespace weft::report
