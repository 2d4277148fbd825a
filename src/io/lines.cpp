#include "io/lines.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "core/check.h"

namespace weft {
namespace {

gzFile zlib(void* file) { return static_cast<gzFile>(file); }

bool named_gzip(const std::string& path) {
  std::string ending = std::filesystem::path(path).extension();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  });
  return ending == ".gz";
}

}  // namespace

Lines::Lines(const std::string& path, FilePart part, std::int64_t max_bytes)
    : path_(path), part_(part), max_bytes_(max_bytes) {
  if (path == "-") {
    // gzclose closes it, and stdin's number must not go to the next file.
    const int input = ::dup(STDIN_FILENO);
    file_ = input < 0 ? nullptr : gzdopen(input, "rb");
    if (!file_ && input >= 0) ::close(input);
  } else {
    std::error_code error;
    CHECK_USER(std::filesystem::exists(path, error), "{}: no such file", path);
    CHECK_USER(!std::filesystem::is_directory(path, error), "{}: is a folder, not a file", path);
    file_ = gzopen(path.c_str(), "rb");
  }
  if (!file_) machine_error("{}: cannot be opened ({})", path, std::strerror(errno));
  gzbuffer(zlib(file_), 1 << 18);
  buffer_.resize(1 << 18);
  try {
    begin();
  } catch (...) {  // no destructor runs
    gzclose(zlib(file_));
    throw;
  }
}

Lines::~Lines() { gzclose(zlib(file_)); }

bool Lines::next(std::string& line) {
  line.clear();
  line_begin_ = gzdirect(zlib(file_)) ? before_ + static_cast<std::int64_t>(at_) : packed_;
  cut_return_ = ended_ = false;
  if (!part_.from_begin() && line_begin_ >= part_.end) return false;
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
    check_size(line.size(), number_ + 1);
  }
  if (!any) return false;
  ++number_;
  check_size(line.size(), number_);
  cut_return_ = ended_ && !line.empty() && line.back() == '\r';
  if (cut_return_) line.pop_back();
  return true;
}

void Lines::check_size(std::size_t bytes, std::int64_t first_line) const {
  CHECK_USER(static_cast<std::int64_t>(bytes) <= max_bytes_,
             "{}: the text that begins in line {} is longer than {} bytes, the most that a line or "
             "document may have; is this file what its name says?",
             path_, first_line, max_bytes_);
}

// The first bytes: what is called .gz must be, and a byte order mark is no text.
void Lines::begin() {
  if (!part_.from_begin()) {
    CHECK(gzdirect(zlib(file_)) && gzseek(zlib(file_), part_.begin, SEEK_SET) == part_.begin,
          "{}: cannot be read from byte {} on", path_, part_.begin);
    before_ = part_.begin;
    number_ = part_.lines_before;
    if (part_.begin > 0) return;
  }
  fill();
  CHECK_USER(!named_gzip(path_) || !gzdirect(zlib(file_)), "{}: is not gzip data", path_);
  const std::string_view mark(buffer_.data(), std::min<std::size_t>(size_, 2));
  CHECK_USER(mark != "\xFF\xFE" && mark != "\xFE\xFF",
             "{}: is UTF-16; turn it into UTF-8 first (iconv -f UTF-16 -t UTF-8)", path_);
  if (size_ >= 3 && std::memcmp(buffer_.data(), "\xEF\xBB\xBF", 3) == 0) at_ = 3;
}

bool Lines::fill() {
  before_ += static_cast<std::int64_t>(size_);
  packed_ = gzoffset(zlib(file_));
  errno = 0;
  const int n = gzread(zlib(file_), buffer_.data(), static_cast<unsigned>(buffer_.size()));
  int status = Z_OK;
  const char* reason = gzerror(zlib(file_), &status);
  if (status == Z_ERRNO)  // the machine's fault, not the file's
    machine_error("{}: cannot be read past line {} ({})", path_, number_,
                  errno != 0 ? std::strerror(errno) : reason);
  CHECK_USER(n >= 0 && status != Z_BUF_ERROR, "{}: cannot be read past line {} ({})", path_,
             number_, status == Z_BUF_ERROR ? "the gzip data is truncated" : reason);
  at_ = 0;
  size_ = static_cast<std::size_t>(n);
  return n > 0;
}

bool Lines::is_plain() const { return gzdirect(zlib(file_)) != 0; }

bool is_blank(std::string_view text, const char* spaces) {
  return text.find_first_not_of(spaces) == std::string_view::npos;
}

}  // namespace weft
