#include "io/ledger/input_blocks.h"

#include <algorithm>
#include <deque>
#include <fstream>
#include <variant>

#include "core/check.h"
#include "core/checksum.h"
#include "io/files.h"
#include "io/ledger/ledger_files.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kBlocksEach = 16;      // of a worker, where there are so many texts
constexpr std::size_t kBlocksOfASize = 512;   // then they become twice as large …
constexpr std::int64_t kMostTexts = 4096;     // … up to this
constexpr std::int64_t kMostBytes = 4 << 20;  // of a block of more than one text

void name(Document& d) {
  if (d.id.empty()) d.id = std::to_string(d.number);
}

}  // namespace

std::int64_t FirstBlocks::size(std::int64_t n_texts) const {
  if (sharers == 0) return most;
  return std::clamp<std::int64_t>(n_texts / (kBlocksEach * sharers), std::min(least, most), most);
}

std::int64_t FirstBlocks::enough() const { return most * kBlocksEach * sharers; }

FileBytes bytes_of_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  CHECK_MACHINE(in.good(), "{}: cannot be read", file.string());
  FileBytes bytes;
  std::string piece(1 << 20, '\0');
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    CHECK_MACHINE(!in.bad(), "{}: reading failed", file.string());
    const std::string_view read(piece.data(), static_cast<std::size_t>(in.gcount()));
    bytes.checksum = mix64(bytes.checksum ^ text_checksum(read));
    bytes.n += static_cast<std::int64_t>(read.size());
  }
  return bytes;
}

InputBlocks InputBlocks::cut(const std::string& file, const ReadOptions& o,
                             const FirstBlocks& first, std::int64_t draws, const fs::path& beside) {
  InputBlocks blocks;
  blocks.file_ = file;
  blocks.size_ = static_cast<std::int64_t>(fs::file_size(file));
  const std::string format = format_of(file, o);
  const bool lines = format == "jsonl" || (format == "txt" && o.unit == TextUnit::line);
  if (lines && Lines(file).is_plain()) {
    blocks.cut_lines(o, format == "jsonl", first.most);
    const std::int64_t n = blocks.n_texts();
    if (first.size(n) < first.most) {
      blocks.blocks_.clear();
      blocks.cut_lines(o, format == "jsonl", first.size(n));
    }
    if (draws > 0) blocks.count_draws(o, draws);
  } else {
    blocks.beside_ = beside;
    blocks.lay_beside(o, first, draws);
  }
  if (draws == 0) blocks.n_draws_ = blocks.n_texts();
  return blocks;
}

std::int64_t InputBlocks::most_texts(std::int64_t size) const {
  const std::size_t doublings = std::min<std::size_t>(blocks_.size() / kBlocksOfASize, 20);
  return std::max(size, std::min(size << doublings, kMostTexts));
}

// As the readers count: empty lines of .txt have a number and are no text, blank ones of JSON have
// none.
void InputBlocks::cut_lines(const ReadOptions& o, bool json, std::int64_t size) {
  Lines lines(file_, {}, o.max_bytes);
  std::string line;
  std::int64_t number = 0;
  Block block;
  const auto close = [&](std::int64_t end) {
    block.end = end;
    if (block.n_texts > 0) blocks_.push_back(std::move(block));
    block = {};
    block.begin = end;
    block.lines_before = lines.number();
    block.first_number = number;
  };
  while (lines.next(line)) {
    const bool text = json ? !is_blank(line) : !line.empty();
    block.n_texts += text;
    number += text || !json;
    if (block.n_texts >= most_texts(size) || lines.position() - block.begin >= kMostBytes)
      close(lines.position());
  }
  close(lines.position());
}

void InputBlocks::count_draws(const ReadOptions& o, std::int64_t draws) {
  EqualTexts equal(draws);
  std::size_t at = 0;
  ReadOptions how = o;
  how.reject = [](std::int64_t, const std::string&) {};
  read_documents(file_, how, [&](Document&& d) {
    while (at + 1 < blocks_.size() && d.line > blocks_[at + 1].lines_before) ++at;
    if (const std::int64_t n = equal.next(d); n > 0) blocks_[at].equal.emplace_back(d.line, n);
  });
  n_draws_ = equal.n_draws();
}

void InputBlocks::lay_beside(const ReadOptions& o, const FirstBlocks& first, std::int64_t draws) {
  FileBeside out(beside_);
  out.write("");
  EqualTexts equal(draws);
  GivenTexts given;
  std::int64_t at = 0, bytes = 0;
  const auto close = [&] {
    if (given.size() == 0) return;
    const std::string packed = pack(given);
    out.write(packed);
    const auto end = at + static_cast<std::int64_t>(packed.size());
    Block block;
    block.begin = at;
    block.end = end;
    block.n_texts = static_cast<std::int64_t>(given.size());
    blocks_.push_back(std::move(block));
    at = end;
    bytes = 0;
    given = {};
  };
  // The first texts wait until it is known how many there are.
  std::deque<std::variant<Document, RejectedRecord>> waiting;
  const auto take = [&](std::int64_t size) {
    auto& text = waiting.front();
    if (auto* d = std::get_if<Document>(&text)) {
      bytes += static_cast<std::int64_t>(d->text.size());
      given.documents.push_back(std::move(*d));
    } else {
      given.rejected.push_back(std::move(std::get<RejectedRecord>(text)));
    }
    waiting.pop_front();
    if (static_cast<std::int64_t>(given.size()) >= most_texts(size) || bytes >= kMostBytes) close();
  };
  const auto add = [&](std::variant<Document, RejectedRecord> text) {
    waiting.push_back(std::move(text));
    while (static_cast<std::int64_t>(waiting.size()) > first.enough()) take(first.most);
  };
  ReadOptions how = o;
  how.reject = [&](std::int64_t line, const std::string& sentence) {
    add(RejectedRecord{line, sentence});
  };
  read_documents(file_, how, [&](Document&& d) {
    name(d);
    if (draws > 0) d.earlier_draws = equal.next(d);
    add(std::move(d));
  });
  const std::int64_t size =
      first.size(n_texts() + static_cast<std::int64_t>(given.size() + waiting.size()));
  while (!waiting.empty()) take(size);
  close();
  out.put_in_place();
  n_draws_ = equal.n_draws();
}

InputBlocks::InputBlocks(const Json& json, const fs::path& beside)
    : file_(json.at("file")), size_(json.at("size")), n_draws_(json.at("draws")) {
  if (json.at("beside").get<bool>()) beside_ = beside;
  for (const Json& b : json.at("blocks")) {
    Block& block = blocks_.emplace_back(Block{b.at(0), b.at(1), b.at(2), b.at(3), b.at(4), {}});
    for (std::size_t i = 5; i + 1 < b.size(); i += 2) block.equal.emplace_back(b[i], b[i + 1]);
  }
}

OrderedJson InputBlocks::json() const {
  OrderedJson list = OrderedJson::array();
  for (const Block& b : blocks_) {
    OrderedJson entry = {b.begin, b.end, b.lines_before, b.first_number, b.n_texts};
    for (const auto& [line, n] : b.equal) {
      entry.push_back(line);
      entry.push_back(n);
    }
    list.push_back(std::move(entry));
  }
  return {{"file", file_},
          {"size", size_},
          {"draws", n_draws_},
          {"beside", !beside_.empty()},
          {"blocks", list}};
}

std::int64_t InputBlocks::n_texts() const {
  std::int64_t n = 0;
  for (const Block& b : blocks_) n += b.n_texts;
  return n;
}

GivenTexts InputBlocks::read(std::size_t block, const ReadOptions& o) const {
  const Block& b = blocks_.at(block);
  if (!beside_.empty()) return unpack(read_part_of_file(beside_, b.begin, b.end));
  std::error_code error;
  const auto size = static_cast<std::int64_t>(fs::file_size(file_, error));
  CHECK_MACHINE(!error && size == size_, "{}: has changed while its texts are served ({})", file_,
                error ? error.message() : fmt::format("{} bytes, not {}", size, size_));
  GivenTexts given;
  ReadOptions how = o;
  how.part = {.begin = b.begin, .end = b.end, .lines_before = b.lines_before};
  how.first_number = b.first_number;
  how.reject = [&](std::int64_t line, const std::string& sentence) {
    given.rejected.push_back({line, sentence});
  };
  auto equal = b.equal.begin();
  read_documents(file_, how, [&](Document&& d) {
    name(d);
    while (equal != b.equal.end() && equal->first < d.line) ++equal;
    if (equal != b.equal.end() && equal->first == d.line) d.earlier_draws = equal->second;
    given.documents.push_back(std::move(d));
  });
  return given;
}

}  // namespace weft
