#include "inspect/token_page.h"

#include "inspect/page_file.h"
#include "inspect/page_templates.h"
#include "io/html.h"

namespace weft {
namespace {

constexpr std::size_t kColors = 6;  // of tokens.css

std::string spans(const AttentionText& text) {
  std::string out;
  std::size_t color = 0;
  for (std::size_t i = 0; i < text.tokens.size(); ++i) {
    const bool put = text.offsets[i].first < 0;
    out += fmt::format("<span class=\"{}\" title=\"{}: id {}\">{}</span>",
                       put ? "put" : fmt::format("c{}", color++ % kColors), i, text.ids[i],
                       text.tokens[i].empty() ? "∅" : escape_html(text.tokens[i]));
  }
  return out;
}

std::string section(const AttentionText& text) {
  std::string rows;
  for (std::size_t i = 0; i < text.tokens.size(); ++i) {
    const auto& [begin, end] = text.offsets[i];
    rows += fmt::format("<tr><td>{}</td><td>{}</td><td class=\"t\">{}</td><td>{}</td></tr>\n", i,
                        text.ids[i], escape_html(text.tokens[i]),
                        begin < 0 ? std::string("put there") : fmt::format("{}–{}", begin, end));
  }
  return fmt::format(
      "<section>\n<h2>{}: {} tokens</h2>\n<div class=\"tokens\">{}</div>\n<details><summary>As a "
      "table</summary>\n<div class=\"wide\"><table><thead><tr><th>place</th><th>id</th>"
      "<th>token</th><th>characters</th></tr></thead>\n<tbody>\n{}</tbody></table></div>"
      "</details>\n</section>\n",
      escape_html(text.name), text.tokens.size(), spans(text), rows);
}

}  // namespace

void write_token_page(const TokenPage& page, const std::filesystem::path& file) {
  std::string body =
      fmt::format("<h1>Tokens</h1>\n<p class=\"faint\">{}</p>\n", escape_html(page.tokenizer));
  for (const AttentionText& text : page.texts) body += section(text);
  body += fmt::format("<footer class=\"faint\"><p>{}: {}</p></footer>\n", escape_html(page.made_by),
                      escape_html(page.command));
  write_page(file, kTokensPage, body);
}

}  // namespace weft
