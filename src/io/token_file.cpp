#include "io/token_file.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/check.h"
#include "io/json.h"

namespace weft {
namespace {

constexpr std::int64_t kFormat = 1;
constexpr std::int64_t kBlock = 1 << 22;  // tokens
constexpr const char* kTokens = "/tokens";
constexpr const char* kOffsets = "/document_offsets";
constexpr const char* kTokenizer = "/tokenizer";

// Removes a file that was not put in place.
struct Leftover {
  std::filesystem::path file;
  bool ours;
  ~Leftover() {
    std::error_code ignored;
    if (ours) std::filesystem::remove(file, ignored);
  }
};

// What would make a file that no reader accepts.
void check_part(const TokenFileInfo& info, const TokenFilePart& part) {
  CHECK(std::accumulate(part.document_lengths.begin(), part.document_lengths.end(), std::int64_t{0}) == static_cast<std::int64_t>(part.tokens.size()),
        "the documents' lengths do not sum to {} tokens", part.tokens.size());
  for (const std::int32_t token : part.tokens) CHECK(token >= 0 && token < info.vocab_size, "token {} of a vocabulary of {}", token, info.vocab_size);
}

}  // namespace

void write_token_file(const std::filesystem::path& file, const TokenFileInfo& info, const TokenFilePart& part, const void* mpi_comm,
                      bool is_first_rank, const std::function<void(const std::string&)>& agree) {
  const std::filesystem::path beside = file.string() + ".tmp";
  const Leftover leftover = {beside, is_first_rank};
  agree(caught([&] {
    check_part(info, part);
    std::error_code error;
    CHECK_USER(!std::filesystem::is_directory(file, error), "{}: is a folder, not a file", file.string());
    const std::int64_t width = info.vocab_size <= 65536 ? 2 : 4;
    if (is_first_rank) reserve_room(beside, width * info.n_tokens + 8 * (info.n_documents + 1) + static_cast<std::int64_t>(info.tokenizer.size()) + (1 << 15));
  }));
  agree(caught([&] {
    Hdf5File out = Hdf5File::create(beside, mpi_comm);
    const DType dtype = info.vocab_size <= 65536 ? DType::u16 : DType::i32;
    out.write_text(kTokenizer, info.tokenizer, is_first_rank);
    out.create_dataset(kTokens, dtype, {info.n_tokens});
    out.create_dataset(kOffsets, DType::i64, {info.n_documents + 1});
    out.set_attribute("/", "format_version", kFormat);
    out.set_attribute("/", "kind", std::string("weft tokens"));
    out.set_attribute("/", "tokenizer_hash", info.tokenizer_hash);
    out.set_attribute("/", "vocab_size", info.vocab_size);
    out.set_attribute("/", "val_fraction", info.val_fraction);
    out.set_attribute("/", "task", info.task);

    const auto n = static_cast<std::int64_t>(part.tokens.size());
    if (dtype == DType::u16) {  // a block at a time: the tokens are most of this rank's memory already
      std::vector<std::uint16_t> narrow;
      for (std::int64_t begin = 0; begin < n; begin += kBlock) {
        const std::int64_t size = std::min(kBlock, n - begin);
        narrow.assign(part.tokens.begin() + begin, part.tokens.begin() + begin + size);
        const FileRun run = {part.first_token + begin, 0, size};
        out.write(kTokens, ConstView(narrow.data(), Dims{size}), {&run, 1});
      }
    } else {
      const FileRun run = {part.first_token, 0, n};
      out.write(kTokens, ConstView(part.tokens.data(), Dims{n}), {&run, 1});
    }
    // Every rank writes where its documents end; the first also the leading 0.
    std::vector<std::int64_t> offsets;
    if (is_first_rank) offsets.push_back(0);
    std::int64_t end = part.first_token;
    for (std::int64_t length : part.document_lengths) offsets.push_back(end += length);
    const auto n_offsets = static_cast<std::int64_t>(offsets.size());
    const FileRun run = {is_first_rank ? 0 : part.first_document + 1, 0, n_offsets};
    out.write(kOffsets, ConstView(offsets.data(), Dims{n_offsets}), {&run, 1});
    out.close();
  }));
  agree(is_first_rank ? caught([&] { put_in_place(beside, file); }) : "");
}

TokenFile::TokenFile(const std::filesystem::path& file) : file_(std::make_shared<Hdf5File>(Hdf5File::open(file, nullptr))) {
  const Hdf5File& in = *file_;
  const std::string name = file.string();
  for (const char* dataset : {kTokens, kOffsets})
    CHECK_USER(in.exists(dataset), "{}: has no {}; it is not a token file (make one with `weft data`)", name, dataset + 1);
  CHECK_USER(in.has_attribute("/", "tokenizer_hash"), "{}: has no tokenizer_hash; it is not a token file (make one with `weft data`)", name);
  CHECK_USER(in.integer_attribute("/", "format_version") == kFormat, "{}: has format version {}; this weft reads {}", name,
             in.integer_attribute("/", "format_version"), kFormat);
  info_.tokenizer_hash = in.string_attribute("/", "tokenizer_hash");
  info_.vocab_size = in.integer_attribute("/", "vocab_size");
  info_.val_fraction = in.number_attribute("/", "val_fraction");
  info_.task = in.string_attribute("/", "task");
  if (in.exists(kTokenizer)) info_.tokenizer = in.read_text(kTokenizer);
  const Dims tokens = in.shape(kTokens), offsets = in.shape(kOffsets);
  CHECK_USER(tokens.rank() == 1 && offsets.rank() == 1 && offsets[0] >= 1, "{}: tokens are {} and document_offsets {}; both must be lists", name,
             tokens.str(), offsets.str());
  const DType stored = in.dtype(kTokens);
  CHECK_USER((stored == DType::u16 || stored == DType::i32) && in.dtype(kOffsets) == DType::i64,
             "{}: tokens are {} and document_offsets {}; allowed: uint16 or int32, and int64", name, dtype_name(stored), dtype_name(in.dtype(kOffsets)));
  CHECK_USER(info_.vocab_size > 0, "{}: vocab_size is {}; it must be above 0", name, info_.vocab_size);
  // Before memory is taken for them.
  CHECK_USER(static_cast<std::uintmax_t>(offsets[0]) <= std::filesystem::file_size(file) / 8, "{}: claims {} documents, more than its bytes can hold; "
             "the file is damaged", name, offsets[0] - 1);
  CHECK_USER(info_.val_fraction >= 0 && info_.val_fraction < 1, "{}: val_fraction is {}; allowed: 0 up to, not including, 1", name, info_.val_fraction);
  info_.n_tokens = tokens[0];
  info_.n_documents = offsets[0] - 1;
  CHECK_USER(info_.n_tokens > 0, "{}: holds no tokens", name);
  std::vector<std::int64_t> ends(static_cast<std::size_t>(offsets[0]));
  in.read_all(kOffsets, View(ends.data(), offsets));
  CHECK_USER(ends.front() == 0 && ends.back() == info_.n_tokens && std::is_sorted(ends.begin(), ends.end()),
             "{}: document_offsets do not rise from 0 to the {} tokens; the file is damaged", name, info_.n_tokens);
  const auto wanted = static_cast<std::int64_t>(std::llround(static_cast<double>(info_.n_tokens) * (1 - info_.val_fraction)));
  train_tokens_ = info_.val_fraction == 0 ? info_.n_tokens : *std::upper_bound(ends.begin(), ends.end() - 1, std::max<std::int64_t>(wanted - 1, 0));
}

const std::filesystem::path& TokenFile::path() const { return file_->path(); }

void TokenFile::read(std::int64_t begin, std::int64_t count, std::int32_t* out) const {
  CHECK(begin >= 0 && count >= 0 && begin + count <= info_.n_tokens, "{}: tokens {}+{} of {}", path().string(), begin, count, info_.n_tokens);
  const FileRun run = {begin, 0, count};
  file_->read(kTokens, View(out, Dims{count}), {&run, 1});
  for (std::int64_t i = 0; i < count; ++i)
    CHECK_USER(out[i] >= 0 && out[i] < info_.vocab_size, "{}: token {} is {}, outside the vocabulary of {}; the file is damaged", path().string(),
               begin + i, out[i], info_.vocab_size);
}

}  // namespace weft
