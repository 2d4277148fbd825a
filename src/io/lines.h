// Lines of a file, plain or gzip, or of stdin; read as a stream.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// Bytes of a file, as it lies on disk: ranks share one by where its documents begin. Those outside
// are passed over, unparsed where that is possible. In a .gz the place is that of the block that a
// document begins in.
struct FilePart {
  std::int64_t begin = 0, end = INT64_MAX;
  // Where the part is known to begin a line of a plain file: how many lines there are before it.
  // Then nothing else of the file is read. -1: reading begins with the file.
  std::int64_t lines_before = -1;

  bool from_begin() const { return lines_before < 0; }
};

// A line or document is never longer than this: a few packed megabytes of one line would fill the
// memory of every rank.
constexpr std::int64_t kMaxDocumentBytes = std::int64_t{1} << 30;

class Lines {
 public:
  // `path`: "-" is stdin, which stays open. UserErrors: no such file, a folder, not gzip data,
  // UTF-16, lines longer than max_bytes. Errors: what cannot be opened or read.
  explicit Lines(const std::string& path, FilePart part = {},
                 std::int64_t max_bytes = kMaxDocumentBytes);
  Lines(const Lines&) = delete;
  Lines& operator=(const Lines&) = delete;
  ~Lines();

  // The next line without its \n (and without a \r before it); false at the end.
  bool next(std::string& line);
  std::int64_t number() const { return number_; }  // of the last line given, from 1
  bool cut_return() const { return cut_return_; }  // whether the last line given ended in \r\n
  // Whether the last line given begins in the part.
  bool ours() const { return line_begin_ >= part_.begin && line_begin_ < part_.end; }
  // Where the last line given begins, and the one behind it, on the disk of a plain file.
  std::int64_t line_begin() const { return line_begin_; }
  std::int64_t position() const { return before_ + static_cast<std::int64_t>(at_); }
  bool is_plain() const;                 // not packed
  bool ended() const { return ended_; }  // whether it ended in \n; only the file's last may not
  // UserError where a document that began in `first_line` has grown past max_bytes.
  void check_size(std::size_t bytes, std::int64_t first_line) const;

 private:
  void begin();
  bool fill();

  std::string path_;
  FilePart part_;
  std::int64_t max_bytes_;
  void* file_ = nullptr;  // zlib's gzFile, which passes plain files through
  std::vector<char> buffer_;
  std::size_t at_ = 0, size_ = 0;
  // before_, packed_: where the buffer begins in the text and in the .gz
  std::int64_t number_ = 0, before_ = 0, packed_ = 0, line_begin_ = 0;
  bool cut_return_ = false, ended_ = false;
};

bool is_blank(std::string_view text, const char* spaces = " \t");

}  // namespace weft
