#include "cli/generation/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/check.h"
#include "core/utf8.h"
#include "report/amounts.h"
#include "report/document.h"

namespace weft {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kMostTerminalTexts = 60;

// Names of columns, what they hold of each text or combination.
constexpr const char *kText = "continuation", *kTokens = "new tokens", *kDistinct1 = "distinct-1",
                     *kDistinct2 = "distinct-2", *kRepeated = "repeated 4-grams",
                     *kPerplexity = "perplexity", *kSeconds = "seconds";

std::string number(double value, const char* form) {
  return std::isnan(value) ? "" : fmt::format(fmt::runtime(form), value);
}

// Of some texts, as cells of a table.
std::vector<std::string> counted(const std::vector<const ComparedText*>& texts) {
  double tokens = 0, repeated = 0;
  std::size_t n_repeated = 0;
  for (const ComparedText* t : texts) {
    tokens += static_cast<double>(t->ids.size());
    const double share = repeated_ngrams(t->ids, 4);
    if (std::isnan(share)) continue;
    repeated += share;
    ++n_repeated;
  }
  const auto n = static_cast<double>(texts.size());
  return {texts.size() == 1 ? fmt::format("{}", tokens) : number(tokens / n, "{:.1f}"),
          number(distinct_ngrams(texts, 1), "{:.3f}"), number(distinct_ngrams(texts, 2), "{:.3f}"),
          n_repeated == 0 ? "" : number(repeated / static_cast<double>(n_repeated), "{:.3f}"),
          number(perplexity(texts), "{:.2f}")};
}

std::vector<report::TableColumn> columns_of(const Comparison& c,
                                            const std::vector<report::TableColumn>& others) {
  std::vector<report::TableColumn> columns;
  for (const std::string& name : c.settings) columns.push_back({name, false});
  columns.insert(columns.end(), others.begin(), others.end());
  return columns;
}

std::string one_line(const std::string& text) {
  std::string line = text;
  for (char& ch : line)
    if (ch == '\n' || ch == '\r' || ch == '\t') ch = ' ';
  return line;
}

report::Table combinations_table(const Comparison& c) {
  report::Table table{columns_of(c, {{"texts", true, 3},
                                     {kTokens},
                                     {kDistinct1, true, 2},
                                     {kDistinct2},
                                     {kRepeated, true, 1},
                                     {kPerplexity},
                                     {kSeconds}}),
                      {}};
  for (std::size_t i = 0; i < c.values.size(); ++i) {
    std::vector<const ComparedText*> texts;
    for (const ComparedText& t : c.texts)
      if (t.combination == i) texts.push_back(&t);
    if (texts.empty()) continue;
    std::vector<std::string> cells = c.values[i];
    cells.push_back(fmt::format("{}", texts.size()));
    for (std::string& cell : counted(texts)) cells.push_back(std::move(cell));
    cells.push_back(c.seconds[i] < 0 ? "" : fmt::format("{:.2f}", c.seconds[i]));
    table.rows.push_back({std::move(cells)});
  }
  return table;
}

// All of them, a row each. On a terminal their beginnings.
report::Table texts_table(const Comparison& c, bool with_seconds, bool terminal = false) {
  const auto shown = [&](const std::string& text, std::size_t most) {
    return terminal ? report::shortened(one_line(text), most) : one_line(text);
  };
  std::vector<report::TableColumn> others = {
      {"prompt", false},     {kText, false},       {kTokens, true, 1},    {kDistinct1, true, 4},
      {kDistinct2, true, 2}, {kRepeated, true, 3}, {kPerplexity, true, 1}};
  if (with_seconds) others.push_back({kSeconds});
  report::Table table{columns_of(c, others), {}};
  std::map<std::size_t, double> n_texts;
  for (const ComparedText& t : c.texts) ++n_texts[t.combination];
  for (const ComparedText& t : c.texts) {
    std::vector<std::string> cells = c.values[t.combination];
    cells.push_back(shown(t.prompt, 16));
    cells.push_back(shown(t.text, 40));
    for (std::string& cell : counted({&t})) cells.push_back(std::move(cell));
    const double seconds = c.seconds[t.combination];
    if (with_seconds)
      cells.push_back(seconds < 0 ? "" : fmt::format("{:.3f}", seconds / n_texts[t.combination]));
    table.rows.push_back({std::move(cells)});
  }
  return table;
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string out = "\"";
  for (const char ch : text) out += ch == '"' ? "\"\"" : std::string(1, ch);
  return out + "\"";
}

std::string as_csv(const report::Table& table) {
  std::string out;
  const auto add_row = [&](const auto& cells, const auto& text_of) {
    bool first = true;
    for (const auto& cell : cells) {
      out += (first ? "" : ",") + csv_cell(text_of(cell));
      first = false;
    }
    out += "\n";
  };
  add_row(table.columns, [](const report::TableColumn& column) { return column.title; });
  for (const report::TableRow& row : table.rows)
    add_row(row.cells, [](const std::string& cell) { return cell; });
  return out;
}

}  // namespace

double distinct_ngrams(const std::vector<const ComparedText*>& texts, std::size_t n) {
  std::set<std::vector<std::int32_t>> distinct;
  double all = 0;
  for (const ComparedText* t : texts)
    for (std::size_t i = 0; i + n <= t->ids.size(); ++i, ++all) {
      const auto from = t->ids.begin() + static_cast<std::ptrdiff_t>(i);
      distinct.emplace(from, from + static_cast<std::ptrdiff_t>(n));
    }
  return all == 0 ? kNone : static_cast<double>(distinct.size()) / all;
}

double repeated_ngrams(const std::vector<std::int32_t>& ids, std::size_t n) {
  ComparedText text;
  text.ids = ids;
  return 1 - distinct_ngrams({&text}, n);
}

double perplexity(const std::vector<const ComparedText*>& texts) {
  double sum = 0, n = 0;
  for (const ComparedText* t : texts)
    for (const double logprob : t->logprobs) sum += logprob, ++n;
  return n == 0 ? kNone : std::exp(-sum / n);
}

void check_table_name(const std::string& file) {
  const bool known =
      file.empty() || file.ends_with(".md") || file.ends_with(".csv") || file.ends_with(".html");
  CHECK_USER(known, "--table is '{}'; allowed: a file that ends in .md, .csv or .html",
             printable(file));
}

std::string comparison_table(const Comparison& c, const std::string& file) {
  if (file.ends_with(".csv")) return as_csv(texts_table(c, true));
  report::Document document{.title = c.title, .sections = {}};
  report::Section combinations{.title = "Combinations", .blocks = {}},
      texts{.title = "Continuations", .blocks = {}};
  if (!c.settings.empty()) combinations.add(combinations_table(c));
  texts.add(texts_table(c, c.settings.empty(), file.empty()));
  texts.long_forms_only = c.texts.size() > kMostTerminalTexts;
  document.sections = {std::move(combinations), std::move(texts)};
  return file.empty()            ? report::as_text(document)
         : file.ends_with(".md") ? report::as_markdown(document)
                                 : report::as_html(document);
}

}  // namespace weft
