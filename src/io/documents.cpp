#include "io/documents.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <utility>

#include "core/check.h"
#include "core/utf8.h"
#include "io/document_readers.h"

namespace weft {

void DocumentReader::reject(std::int64_t line, const std::string& what) const {
  const std::string sentence = fmt::format("{}: line {}{}", path, line, what);
  if (!options.reject) throw UserError(sentence);
  options.reject(line, sentence);
}

void DocumentReader::text_lines() {
  std::string line;
  for (; lines.next(line); ++number)
    if (!line.empty() && lines.ours())
      each({.text = made_utf8(std::string(line)), .line = lines.number(), .number = number});
}

void DocumentReader::paragraphs() {
  std::string line;
  Document paragraph = {.text = ""};
  bool ours = true;
  const auto close = [&] {
    if (!paragraph.text.empty()) {
      paragraph.number = number++;
      paragraph.text = made_utf8(std::move(paragraph.text));
      if (ours) each(std::move(paragraph));
    }
    paragraph = {.text = ""};
  };
  while (lines.next(line)) {
    if (is_blank(line)) {
      close();
      continue;
    }
    if (paragraph.text.empty()) {
      paragraph.line = lines.number();
      ours = lines.ours();
    } else {
      paragraph.text += '\n';
    }
    paragraph.text += line;
    lines.check_size(paragraph.text.size(), paragraph.line);
  }
  close();
}

void DocumentReader::whole_file() {
  std::string line, text;
  bool ours = true;
  while (ours && lines.next(line)) {
    if (lines.number() == 1) ours = lines.ours();
    text += line;
    if (lines.ended()) text += '\n';
    lines.check_size(text.size(), 1);
  }
  if (ours && !is_blank(text, " \t\n"))
    each({.text = made_utf8(std::move(text)), .line = 1, .number = number});
}

void DocumentReader::fasta() {
  std::string line;
  Document record;
  bool open = false, ours = true;
  const auto close = [&] {
    if (!open) return;
    record.number = number++;
    record.text = made_utf8(std::move(record.text));
    if (ours) each(std::move(record));
  };
  const auto is_space = [](unsigned char c) { return std::isspace(c) != 0; };
  while (lines.next(line)) {
    if (line.starts_with('>')) {
      close();
      ours = lines.ours();
      record = {.text = "",
                .id = made_utf8(line.substr(1, line.find_first_of(" \t") - 1)),
                .line = lines.number()};
      open = true;
    } else if (!line.empty() && !line.starts_with(';')) {
      CHECK_USER(open, "{}: line {} comes before the first '>' header; is this FASTA?", path,
                 lines.number());
      line.erase(std::remove_if(line.begin(), line.end(), is_space), line.end());
      record.text += line;
      lines.check_size(record.text.size(), record.line);
    }
  }
  close();
}

void DocumentReader::smiles() {
  std::string line;
  for (; lines.next(line); ++number) {
    const std::size_t begin = line.find_first_not_of(" \t"), end = line.find_first_of(" \t", begin);
    if (begin == std::string::npos || !lines.ours()) continue;
    Document document = {.text = made_utf8(line.substr(begin, end - begin)),
                         .line = lines.number(),
                         .number = number};
    const std::size_t name = line.find_first_not_of(" \t", end);
    if (name != std::string::npos)
      document.id = made_utf8(line.substr(name, line.find_first_of(" \t", name) - name));
    each(std::move(document));
  }
}

namespace {

constexpr std::pair<const char*, const char*> kEndings[] = {
    {".txt", "txt"},   {".jsonl", "jsonl"}, {".json", "json"}, {".csv", "csv"},
    {".tsv", "tsv"},   {".fasta", "fasta"}, {".fa", "fasta"},  {".fas", "fasta"},
    {".fna", "fasta"}, {".faa", "fasta"},   {".ffn", "fasta"}, {".frn", "fasta"},
    {".smi", "smi"},   {".smiles", "smi"}};

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

// Of the file's ending; empty where that is unknown.
std::string named_format(const std::string& path) {
  const std::filesystem::path name = lower_case(path);
  std::string ending = name.extension();
  if (ending == ".gz") ending = name.stem().extension();
  for (const auto& [known, format] : kEndings)
    if (ending == known) return format;
  return "";
}

// The file that stdin was redirected from, whose ending counts as if it had been named; empty where
// it is a pipe or a terminal.
std::string file_of_stdin() {
  std::error_code error;
  const std::filesystem::path link = "/proc/self/fd/0";
  if (!std::filesystem::is_regular_file(link, error)) return "";
  return std::filesystem::read_symlink(link, error);
}

bool is_stdin(const std::string& path) {
  return path == "-" || path == "/dev/stdin" || path == "/dev/fd/0" || path == "/proc/self/fd/0";
}

}  // namespace

bool is_stream(const std::string& path) {
  if (path == "-" || path.starts_with("/dev/") || path.starts_with("/proc/")) return true;
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  using std::filesystem::file_type;
  return type == file_type::fifo || type == file_type::character || type == file_type::socket;
}

std::string format_of(const std::string& path, const ReadOptions& o) {
  if (!o.format.empty()) return o.format;
  const std::string format = named_format(is_stdin(path) ? file_of_stdin() : path);
  return format.empty() && is_stream(path) ? "txt" : format;
}

void check_read_options(const ReadOptions& o) {
  check_fields([&](FieldVisitor& v) {
    ReadOptions copy = o;
    v.field("format", copy.format, kFormats, "");
    v.field("quotes", copy.quotes, kQuotes, "");
  });
}

void read_documents(const std::string& path, const ReadOptions& o,
                    const std::function<void(Document&&)>& each) {
  check_read_options(o);
  const std::string format = format_of(path, o);
  CHECK_USER(!format.empty(),
             "{}: files end in .txt, .jsonl, .json, .csv, .tsv, .fasta, .fa, .fas, .fna, .faa, "
             ".ffn, .frn, .smi or .smiles (each also with .gz); --format says what others hold",
             path);
  Lines lines(path, o.part, o.max_bytes);
  const bool table = format == "csv" || format == "tsv", json = format.starts_with("json");
  CHECK_USER(o.extras.empty() || table || json,
             "{}: has no fields, so no '{}' ({}); allowed: .jsonl, .json, .csv and .tsv files",
             path, o.extras[0].name, o.extras[0].option);
  CHECK_USER(o.pair_field.empty() || table || json,
             "{}: has no fields, so no '{}' (--pair-field); allowed: .jsonl, .json, .csv and .tsv "
             "files",
             path, o.pair_field);
  DocumentReader reader = {lines, path, o, each, o.first_number};
  if (format == "txt")
    o.unit == TextUnit::line        ? reader.text_lines()
    : o.unit == TextUnit::paragraph ? reader.paragraphs()
                                    : reader.whole_file();
  else if (format == "jsonl")
    reader.json_lines();
  else if (format == "json")
    reader.json_file();
  else if (table)
    reader.table(format == "csv" ? ',' : '\t');
  else if (format == "smi")
    reader.smiles();
  else
    reader.fasta();
}

std::vector<Document> read_documents(const std::string& path, const ReadOptions& options) {
  std::vector<Document> all;
  read_documents(path, options, [&](Document&& document) { all.push_back(std::move(document)); });
  return all;
}

}  // namespace weft
