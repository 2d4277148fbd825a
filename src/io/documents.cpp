#include "io/documents.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace weft {
namespace {

// Lines of a file, plain or gzip, or of stdin; read as a stream. zlib passes plain files through.
class Lines {
 public:
  Lines(const std::string& path, FilePart part) : path_(path), part_(part) {
    if (path == "-") {
      const int input = ::dup(
          STDIN_FILENO);  // gzclose closes it, and stdin's number must not go to the next file
      file_ = input < 0 ? nullptr : gzdopen(input, "rb");
      if (!file_ && input >= 0) ::close(input);
    } else {
      std::error_code error;
      CHECK_USER(std::filesystem::exists(path, error), "{}: no such file", path);
      CHECK_USER(!std::filesystem::is_directory(path, error), "{}: is a folder, not a file", path);
      file_ = gzopen(path.c_str(), "rb");
    }
    CHECK_USER(file_, "{}: cannot be opened", path);
    gzbuffer(file_, 1 << 18);
    buffer_.resize(1 << 18);
    try {
      begin();
    } catch (...) {  // no destructor runs
      gzclose(file_);
      throw;
    }
  }
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
  ~Lines() { gzclose(file_); }

  // The next line without its \n (and without a \r before it); false at the end.
  bool next(std::string& line) {
    line.clear();
    line_begin_ = gzdirect(file_) ? before_ + static_cast<std::int64_t>(at_) : packed_;
    cut_return_ = ended_ = false;
    bool any = false;
    for (;;) {
      if (at_ == size_ && !fill()) break;
      any = true;
      const char* begin = buffer_.data() + at_;
      const auto* end = static_cast<const char*>(std::memchr(begin, '\n', size_ - at_));
      line.append(begin, end ? end : buffer_.data() + size_);
      at_ = end ? static_cast<std::size_t>(end - buffer_.data()) + 1 : size_;
      if (end) {
        ended_ = true;
        break;
      }
    }
    if (!any) return false;
    ++number_;
    cut_return_ = ended_ && !line.empty() && line.back() == '\r';
    if (cut_return_) line.pop_back();
    return true;
  }
  std::int64_t number() const { return number_; }  // of the last line given, from 1
  bool cut_return() const { return cut_return_; }  // whether the last line given ended in \r\n
  bool ours() const {
    return line_begin_ >= part_.begin && line_begin_ < part_.end;
  }                                      // whether the last line given begins in the part
  bool ended() const { return ended_; }  // whether it ended in \n; only the file's last may not
  // First byte of the input, without taking it; 0 at the end.
  char peek() { return at_ < size_ || fill() ? buffer_[at_] : '\0'; }

 private:
  // The first bytes: what is called .gz must be, and a byte order mark is no text.
  void begin() {
    fill();
    CHECK_USER(!path_.ends_with(".gz") || !gzdirect(file_), "{}: is not gzip data", path_);
    const std::string_view mark(buffer_.data(), std::min<std::size_t>(size_, 2));
    CHECK_USER(mark != "\xFF\xFE" && mark != "\xFE\xFF",
               "{}: is UTF-16; turn it into UTF-8 first (iconv -f UTF-16 -t UTF-8)", path_);
    if (size_ >= 3 && std::memcmp(buffer_.data(), "\xEF\xBB\xBF", 3) == 0) at_ = 3;
  }
  bool fill() {
    before_ += static_cast<std::int64_t>(size_);
    packed_ = gzoffset(file_);
    const int n = gzread(file_, buffer_.data(), static_cast<unsigned>(buffer_.size()));
    int status = Z_OK;
    const char* reason = gzerror(file_, &status);
    CHECK_USER(n >= 0 && status != Z_BUF_ERROR, "{}: cannot be read past line {} ({})", path_,
               number_, status == Z_BUF_ERROR ? "the gzip data is truncated" : reason);
    at_ = 0;
    size_ = static_cast<std::size_t>(n);
    return n > 0;
  }

  std::string path_;
  FilePart part_;
  gzFile file_ = nullptr;
  std::vector<char> buffer_;
  std::size_t at_ = 0, size_ = 0;
  std::int64_t number_ = 0, before_ = 0, packed_ = 0,
               line_begin_ =
                   0;  // before_, packed_: where the buffer begins in the text and in the .gz
  bool cut_return_ = false, ended_ = false;
};

using Each = std::function<void(Document&&)>;

void read_lines(Lines& lines, const Each& each) {
  std::string line;
  while (lines.next(line))
    if (!line.empty() && lines.ours())
      each({.text = line, .id = "", .options = nullptr, .line = lines.number(), .extras = {}});
}

bool is_blank(const std::string& text, const char* spaces = " \t") {
  return text.find_first_not_of(spaces) == std::string::npos;
}

void read_paragraphs(Lines& lines, const Each& each) {
  std::string line;
  Document paragraph;
  bool ours = true;
  const auto close = [&] {
    if (!paragraph.text.empty() && ours) each(std::move(paragraph));
    paragraph = {};
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
  }
  close();
}

void read_whole(Lines& lines, const Each& each) {
  std::string line;
  Document file = {.text = "", .id = "", .options = nullptr, .line = 1, .extras = {}};
  bool ours = true;
  while (ours && lines.next(line)) {
    if (lines.number() == 1) ours = lines.ours();
    file.text += line;
    if (lines.ended()) file.text += '\n';
  }
  if (ours && !is_blank(file.text, " \t\n")) each(std::move(file));
}

std::string keys_of(const Json& object) {
  std::string keys;
  for (const auto& [key, value] : object.items()) keys += (keys.empty() ? "" : ", ") + key;
  return keys;
}

void read_jsonl(Lines& lines, const std::string& path, const std::string& field,
                const std::vector<ExtraField>& extras, const Each& each) {
  std::string line;
  while (lines.next(line)) {
    if (!lines.ours() || is_blank(line)) continue;
    Json object;
    try {
      object = parse_json(line);
    } catch (const Json::exception&) {  // said below
    }
    CHECK_USER(object.is_object(), "{}: line {} is not a JSON object", path, lines.number());
    std::string key = field;
    if (key.empty()) key = object.contains("text") ? "text" : "prompt";
    CHECK_USER(object.contains(key), "{}: line {} has no field '{}'; it has: {}", path,
               lines.number(), field.empty() ? "text" : field, keys_of(object));
    CHECK_USER(object[key].is_string(), "{}: line {}: field '{}' is {}, not text", path,
               lines.number(), key, object[key].type_name());
    Document document = {.text = object[key].get<std::string>(),
                         .id = "",
                         .options = nullptr,
                         .line = lines.number(),
                         .extras = {}};
    for (const ExtraField& extra : extras) {
      CHECK_USER(object.contains(extra.name),
                 "{}: line {} has no field '{}' (choose one with {}); it has: {}", path,
                 lines.number(), extra.name, extra.option, keys_of(object));
      document.extras.push_back(object[extra.name]);
    }
    if (object.contains("id"))
      document.id =
          object["id"].is_string() ? object["id"].get<std::string>() : object["id"].dump();
    document.options = std::move(object);
    each(std::move(document));
  }
}

// One record of RFC 4180, which may span lines; false at the end of the file.
bool next_record(Lines& lines, char separator, const std::string& path,
                 std::vector<std::string>& cells, bool* ours = nullptr) {
  std::string line;
  if (!lines.next(line)) return false;
  if (ours) *ours = lines.ours();
  const std::int64_t first_line = lines.number();
  cells.assign(1, "");
  bool quoted = false;
  for (std::size_t i = 0;; ++i) {
    if (i >= line.size()) {
      if (!quoted) return true;
      if (lines.cut_return()) cells.back() += '\r';
      CHECK_USER(lines.next(line), "{}: the quote that opens in line {} is never closed", path,
                 first_line);
      cells.back() += '\n';
      i = static_cast<std::size_t>(-1);
      continue;
    }
    const char c = line[i];
    if (quoted && c == '"' && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += '"';
      ++i;
    } else if (quoted && c == '"') {
      quoted = false;
    } else if (quoted) {
      cells.back() += c;
    } else if (c == '"' && cells.back().empty()) {
      quoted = true;
    } else if (c == separator) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
}

void read_table(Lines& lines, const std::string& path, char separator, const std::string& field,
                const std::vector<ExtraField>& extras, const Each& each) {
  std::vector<std::string> header, cells;
  if (!next_record(lines, separator, path, header)) return;
  std::string known;
  for (const std::string& name : header) known += (known.empty() ? "" : ", ") + name;
  const auto place_of = [&](const std::string& name, const std::string& option) {
    const auto column = std::find(header.begin(), header.end(), name);
    CHECK_USER(column != header.end(),
               "{}: has no column '{}' (choose one with {}); its columns: {}", path, name, option,
               known);
    return static_cast<std::size_t>(column - header.begin());
  };
  const std::string wanted = field.empty() ? "text" : field;
  const std::size_t at = place_of(wanted, "--field");
  std::vector<std::size_t> places;
  for (const ExtraField& extra : extras) places.push_back(place_of(extra.name, extra.option));
  const auto id =
      static_cast<std::size_t>(std::find(header.begin(), header.end(), "id") - header.begin());
  for (bool ours = true;;) {
    const std::int64_t line = lines.number() + 1;
    if (!next_record(lines, separator, path, cells, &ours)) return;
    if (!ours) continue;
    if (cells.size() == 1 && cells[0].empty() && header.size() > 1) continue;
    CHECK_USER(at < cells.size(), "{}: line {} has {} columns, but '{}' is column {}", path, line,
               cells.size(), wanted, at + 1);
    Document document = {.text = cells[at],
                         .id = id < cells.size() ? cells[id] : "",
                         .options = nullptr,
                         .line = line,
                         .extras = {}};
    for (std::size_t i = 0; i < places.size(); ++i) {
      CHECK_USER(places[i] < cells.size(), "{}: line {} has {} columns, but '{}' is column {}",
                 path, line, cells.size(), extras[i].name, places[i] + 1);
      document.extras.emplace_back(cells[places[i]]);
    }
    if (!document.text.empty()) each(std::move(document));
  }
}

void read_fasta(Lines& lines, const std::string& path, const Each& each) {
  std::string line;
  Document record;
  bool open = false, ours = true;
  const auto close = [&] {
    if (open && ours) each(std::move(record));
  };
  while (lines.next(line)) {
    if (line.starts_with('>')) {
      close();
      ours = lines.ours();
      record = {.text = "",
                .id = line.substr(1, line.find_first_of(" \t") - 1),
                .options = nullptr,
                .line = lines.number(),
                .extras = {}};
      open = true;
    } else if (!line.empty() && !line.starts_with(';')) {
      CHECK_USER(open, "{}: line {} comes before the first '>' header; is this FASTA?", path,
                 lines.number());
      line.erase(
          std::remove_if(line.begin(), line.end(), [](unsigned char c) { return std::isspace(c); }),
          line.end());
      record.text += line;
    }
  }
  close();
}

void read_smiles(Lines& lines, const Each& each) {
  std::string line;
  while (lines.next(line)) {
    const std::size_t begin = line.find_first_not_of(" \t"), end = line.find_first_of(" \t", begin);
    if (begin == std::string::npos || !lines.ours()) continue;
    Document document = {.text = line.substr(begin, end - begin),
                         .id = "",
                         .options = nullptr,
                         .line = lines.number(),
                         .extras = {}};
    const std::size_t name = line.find_first_not_of(" \t", end);
    if (name != std::string::npos)
      document.id = line.substr(name, line.find_first_of(" \t", name) - name);
    each(std::move(document));
  }
}

}  // namespace

void read_documents(const std::string& path, const std::string& field, const Each& each,
                    TextUnit unit, FilePart part, const std::vector<ExtraField>& extras) {
  std::filesystem::path name = path;
  std::string ending = name.extension();
  if (ending == ".gz") ending = name.stem().extension();
  static constexpr const char* kKnown[] = {".txt", ".jsonl", ".csv", ".tsv", ".fasta",
                                           ".fa",  ".faa",   ".fna", ".smi", ".smiles"};
  CHECK_USER(
      path == "-" || std::find(std::begin(kKnown), std::end(kKnown), ending) != std::end(kKnown),
      "{}: files end in .txt, .jsonl, .csv, .tsv, .fasta, .fa, .faa, .fna, .smi or .smiles (each "
      "also with .gz)",
      path);
  Lines lines(path, part);
  if (path == "-")
    ending = lines.peek() == '{' ? ".jsonl" : lines.peek() == '>' ? ".fasta" : ".txt";
  const bool fields = ending == ".jsonl" || ending == ".csv" || ending == ".tsv";
  CHECK_USER(extras.empty() || fields,
             "{}: has no fields, so no '{}' ({}); allowed: .jsonl, .csv and .tsv files", path,
             extras[0].name, extras[0].option);
  if (ending == ".txt")
    (unit == TextUnit::line        ? read_lines
     : unit == TextUnit::paragraph ? read_paragraphs
                                   : read_whole)(lines, each);
  else if (ending == ".jsonl")
    read_jsonl(lines, path, field, extras, each);
  else if (ending == ".csv" || ending == ".tsv")
    read_table(lines, path, ending == ".csv" ? ',' : '\t', field, extras, each);
  else if (ending == ".smi" || ending == ".smiles")
    read_smiles(lines, each);
  else
    read_fasta(lines, path, each);
}

std::vector<Document> read_documents(const std::string& path, const std::string& field,
                                     TextUnit unit) {
  std::vector<Document> all;
  read_documents(
      path, field, [&](Document&& document) { all.push_back(std::move(document)); }, unit);
  return all;
}

}  // namespace weft
