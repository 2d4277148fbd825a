#include "io/token_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

#include "core/check.h"
#include "core/checksum.h"
#include "io/json.h"
#include "io/token_file_format.h"

namespace weft {
namespace {

using namespace token_file;

Json json_at(const Hdf5File& in, const char* name) {
  Json json;
  if (in.exists(name)) {
    try {
      json = parse_json(in.read_text(name));
    } catch (const Json::exception&) {  // said below
    }
  }
  CHECK_USER(json.is_object(), "{}: {} is missing or no JSON object; the file is damaged",
             in.path().string(), name);
  return json;
}

template <class List>
std::uint64_t list_checksum(const List& list) {
  std::uint64_t sum = std::size(list), i = 0;
  for (const auto& x : list) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &x, sizeof x);
    sum += element_checksum(i++, bits);
  }
  return sum;
}

// A dataset of known shape, whole.
template <class T>
std::vector<T> list_at(const Hdf5File& in, const char* name, DType dtype, const Dims& shape) {
  const std::string file = in.path().string();
  CHECK_USER(in.exists(name), "{}: {} is missing; the file is damaged", file, name);
  CHECK_USER(in.shape(name) == shape && in.dtype(name) == dtype,
             "{}: {} is {} {}; it must be {} {}", file, name, dtype_name(in.dtype(name)),
             in.shape(name).str(), dtype_name(dtype), shape.str());
  CHECK_USER(
      static_cast<std::uintmax_t>(shape.elems()) <= std::filesystem::file_size(file) / sizeof(T),
      "{}: {} claims {} values, more than its bytes can hold; "
      "the file is damaged",
      file, name, shape.elems());
  std::vector<T> all(static_cast<std::size_t>(shape.elems()));
  in.read_all(name, View(all.data(), shape));
  return all;
}

}  // namespace

TokenFile::TokenFile(const std::filesystem::path& file)
    : file_(std::make_shared<Hdf5File>(Hdf5File::open(file))) {
  const Hdf5File& in = *file_;
  const std::string name = file.string();
  for (const char* dataset : {kTokens, kOffsets})
    CHECK_USER(in.exists(dataset),
               "{}: has no {}; it is not a token file (make one with `weft data`)", name,
               dataset + 1);
  CHECK_USER(in.has_attribute("/", "tokenizer_hash"),
             "{}: has no tokenizer_hash; it is not a token file (make one with `weft data`)", name);
  const std::int64_t format = in.integer_attribute("/", "format_version");
  CHECK_USER(format == kFormat || format == kFormatOfTexts,
             "{}: has format version {}; this weft reads {} and {}", name, format, kFormat,
             kFormatOfTexts);
  info_.tokenizer_hash = in.string_attribute("/", "tokenizer_hash");
  info_.vocab_size = in.integer_attribute("/", "vocab_size");
  info_.val_fraction = in.number_attribute("/", "val_fraction");
  info_.task = in.string_attribute("/", "task");
  CHECK_USER(format == format_of(info_.task),
             "{}: has format version {}, which is not that of task '{}'; the file is damaged", name,
             format, info_.task.substr(0, 40));
  if (in.exists(kTokenizer)) info_.tokenizer = in.read_text(kTokenizer);
  const Dims tokens = in.shape(kTokens), offsets = in.shape(kOffsets);
  CHECK_USER(tokens.rank() == 1 && offsets.rank() == 1 && offsets[0] >= 1,
             "{}: tokens are {} and document_offsets {}; both must be lists", name, tokens.str(),
             offsets.str());
  const DType stored = in.dtype(kTokens);
  CHECK_USER((stored == DType::u16 || stored == DType::i32) && in.dtype(kOffsets) == DType::i64,
             "{}: tokens are {} and document_offsets {}; allowed: uint16 or int32, and int64", name,
             dtype_name(stored), dtype_name(in.dtype(kOffsets)));
  CHECK_USER(info_.vocab_size > 0, "{}: vocab_size is {}; it must be above 0", name,
             info_.vocab_size);
  // Before memory is taken for them.
  CHECK_USER(static_cast<std::uintmax_t>(offsets[0]) <= std::filesystem::file_size(file) / 8,
             "{}: claims {} documents, more than its bytes can hold; "
             "the file is damaged",
             name, offsets[0] - 1);
  CHECK_USER(info_.val_fraction >= 0 && info_.val_fraction < 1,
             "{}: val_fraction is {}; allowed: 0 up to, not including, 1", name,
             info_.val_fraction);
  info_.n_tokens = tokens[0];
  info_.n_documents = offsets[0] - 1;
  CHECK_USER(info_.n_tokens > 0, "{}: holds no tokens", name);
  std::vector<std::int64_t> ends(static_cast<std::size_t>(offsets[0]));
  in.read_all(kOffsets, View(ends.data(), offsets));
  CHECK_USER(ends.front() == 0 && ends.back() == info_.n_tokens &&
                 std::is_sorted(ends.begin(), ends.end()),
             "{}: document_offsets do not rise from 0 to the {} tokens; the file is damaged", name,
             info_.n_tokens);
  offsets_checksum_ = list_checksum(ends);
  const auto wanted = static_cast<std::int64_t>(
      std::llround(static_cast<double>(info_.n_tokens) * (1 - info_.val_fraction)));
  train_tokens_ =
      info_.val_fraction == 0
          ? info_.n_tokens
          : *std::upper_bound(ends.begin(), ends.end() - 1, std::max<std::int64_t>(wanted - 1, 0));
  if (format == kFormat) {
    read_format_1();
    return;
  }
  offsets_ = std::move(ends);
  read_format_2();
}

void TokenFile::read_format_1() {
  const std::string name = file_->path().string();
  if (file_->has_attribute("/", kBegin)) {
    std::istringstream ids(file_->string_attribute("/", kBegin));
    for (std::int64_t id = 0; ids >> id;) {
      CHECK_USER(id >= 0 && id < info_.vocab_size,
                 "{}: begin_tokens holds {}, outside the vocabulary of {}; the file is damaged",
                 name, id, info_.vocab_size);
      info_.begin_tokens.push_back(static_cast<std::int32_t>(id));
    }
    CHECK_USER(ids.eof(), "{}: begin_tokens is no list of ids; the file is damaged", name);
  }
  if (!file_->has_attribute("/", kTrain)) return;
  train_tokens_ = info_.train_tokens = file_->integer_attribute("/", kTrain);
  CHECK_USER(train_tokens_ >= 0 && train_tokens_ <= info_.n_tokens,
             "{}: train_tokens is {}; allowed: 0 to the {} tokens; the file is damaged", name,
             train_tokens_, info_.n_tokens);
}

void TokenFile::read_format_2() {
  const Hdf5File& in = *file_;
  const std::string name = in.path().string();
  const std::int64_t n = info_.n_documents;
  info_.wrapping = wrapping_from(json_at(in, kWrapping), info_.vocab_size, name + ": wrapping");
  info_.pairs = in.exists(kSecond);
  if (info_.pairs) second_ = list_at<std::int64_t>(in, kSecond, DType::i64, {n});
  for (std::size_t i = 0; i < second_.size(); ++i)
    CHECK_USER(second_[i] >= offsets_[i] && second_[i] <= offsets_[i + 1],
               "{}: the second text of document {} begins outside of it; the file is damaged", name,
               i);
  // At least one validates where any are asked to, and one trains.
  const auto wanted = std::max<std::int64_t>(
      info_.val_fraction > 0, std::llround(static_cast<double>(n) * info_.val_fraction));
  train_documents_ = std::max<std::int64_t>(n - wanted, 1);
  if (!in.exists(kProblem)) return;
  info_.labels = label_kind_from(json_at(in, kProblem), name + ": problem");
  const std::int64_t n_labels = info_.labels->n_labels();
  if (info_.labels->single()) {
    labels_ = list_at<std::int32_t>(in, kLabels, DType::i32, {n});
    for (const std::int32_t label : labels_)
      CHECK_USER(label >= 0 && label < n_labels,
                 "{}: a label is {}; allowed: 0 to {}; the file is damaged", name, label,
                 n_labels - 1);
  } else {
    targets_ = list_at<float>(in, kTargets, DType::f32, {n, n_labels});
    for (const float target : targets_)
      CHECK_USER(std::isfinite(target), "{}: a target is {}; the file is damaged", name, target);
  }
}

std::uint64_t TokenFile::checksum() const {
  constexpr std::int64_t kBlocks = 64, kEach = 1024;
  std::uint64_t tokens = static_cast<std::uint64_t>(info_.n_tokens);
  std::vector<std::int32_t> block(kEach);
  for (std::int64_t i = 0, end = 0; i < kBlocks && end < info_.n_tokens; ++i) {
    const std::int64_t last = std::max<std::int64_t>(info_.n_tokens - kEach, 0),
                       begin = std::max(end, last * i / (kBlocks - 1)),
                       n = std::min(kEach, info_.n_tokens - begin);
    read(begin, n, block.data());
    for (std::int64_t k = 0; k < n; ++k)
      tokens += element_checksum(static_cast<std::uint64_t>(begin + k),
                                 static_cast<std::uint32_t>(block[static_cast<std::size_t>(k)]));
    end = begin + n;
  }
  const std::string beside =
      json_text(to_json(info_.wrapping)) + (info_.labels ? json_ascii(to_json(*info_.labels)) : "");
  const std::uint64_t parts[] = {offsets_checksum_,      tokens,
                                 text_checksum(beside),  list_checksum(second_),
                                 list_checksum(labels_), list_checksum(targets_)};
  return list_checksum(parts);
}

const std::filesystem::path& TokenFile::path() const { return file_->path(); }

void TokenFile::read(std::int64_t begin, std::int64_t count, std::int32_t* out) const {
  CHECK(begin >= 0 && count >= 0 && begin + count <= info_.n_tokens, "{}: tokens {}+{} of {}",
        path().string(), begin, count, info_.n_tokens);
  const FileRun run = {begin, 0, count};
  file_->read(kTokens, View(out, Dims{count}), {&run, 1});
  for (std::int64_t i = 0; i < count; ++i)
    CHECK_USER(out[i] >= 0 && out[i] < info_.vocab_size,
               "{}: token {} is {}, outside the vocabulary of {}; the file is damaged",
               path().string(), begin + i, out[i], info_.vocab_size);
}

}  // namespace weft
