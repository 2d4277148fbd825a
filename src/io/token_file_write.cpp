// Writing a token file, by all ranks together.
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "comm/agreement.h"
#include "core/check.h"
#include "io/files.h"
#include "io/hdf5/hdf5.h"
#include "io/token_file_format.h"

namespace weft {
namespace {

using namespace token_file;

constexpr std::int64_t kBlock = 1 << 22;  // tokens

template <class T>
void write_rows(Hdf5File& out, const char* name, const std::vector<T>& rows, std::int64_t first,
                std::int64_t width) {
  const std::int64_t each = std::max<std::int64_t>(1, width),
                     n = static_cast<std::int64_t>(rows.size());
  const FileRun run = {first * each, 0, n};
  out.write(name, ConstView(rows.data(), Dims{n}), {&run, 1});
}

// Everything but the documents: texts, attributes, and datasets to be filled.
void create_token_file(const std::filesystem::path& file, const TokenFileInfo& info) {
  Hdf5File out = Hdf5File::create(file);
  out.write_text(kTokenizer, info.tokenizer);
  out.create_dataset(kTokens, info.vocab_size <= 65536 ? DType::u16 : DType::i32, {info.n_tokens});
  out.create_dataset(kOffsets, DType::i64, {info.n_documents + 1});
  out.set_attribute("/", "format_version", format_of(info.task));
  out.set_attribute("/", "kind", std::string("weft tokens"));
  out.set_attribute("/", "tokenizer_hash", info.tokenizer_hash);
  out.set_attribute("/", "vocab_size", info.vocab_size);
  out.set_attribute("/", "val_fraction", info.val_fraction);
  out.set_attribute("/", "task", info.task);
  if (!info.begin_tokens.empty())
    out.set_attribute("/", kBegin, fmt::format("{}", fmt::join(info.begin_tokens, " ")));
  if (info.train_tokens >= 0) out.set_attribute("/", kTrain, info.train_tokens);
  if (format_of(info.task) == kFormatOfTexts) {
    out.write_text(kWrapping, json_text(to_json(info.wrapping)));
    if (info.pairs) out.create_dataset(kSecond, DType::i64, {info.n_documents});
    if (info.labels) out.write_text(kProblem, json_text(to_json(*info.labels)));
    if (info.labels && info.labels->single())
      out.create_dataset(kLabels, DType::i32, {info.n_documents});
    else if (info.labels)
      out.create_dataset(kTargets, DType::f32, {info.n_documents, info.labels->n_labels()});
  }
  out.close();
}

void write_tokens(Hdf5File& out, const TokenFileInfo& info, const TokenFilePart& part) {
  const auto n = static_cast<std::int64_t>(part.tokens.size());
  if (info.vocab_size > 65536) {
    const FileRun run = {part.first_token, 0, n};
    out.write(kTokens, ConstView(part.tokens.data(), Dims{n}), {&run, 1});
    return;
  }
  std::vector<std::uint16_t>
      narrow;  // a block at a time: the tokens are most of this rank's memory
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, n - begin);
    narrow.assign(part.tokens.begin() + begin, part.tokens.begin() + begin + size);
    const FileRun run = {part.first_token + begin, 0, size};
    out.write(kTokens, ConstView(narrow.data(), Dims{size}), {&run, 1});
  }
}

// Where this rank's documents end; the first rank's also the leading 0.
void write_offsets(Hdf5File& out, const TokenFilePart& part, bool is_first_rank) {
  std::vector<std::int64_t> offsets;
  if (is_first_rank) offsets.push_back(0);
  std::int64_t end = part.first_token;
  for (std::int64_t length : part.document_lengths) offsets.push_back(end += length);
  const auto n = static_cast<std::int64_t>(offsets.size());
  const FileRun run = {is_first_rank ? 0 : part.first_document + 1, 0, n};
  out.write(kOffsets, ConstView(offsets.data(), Dims{n}), {&run, 1});
}

void write_labels(Hdf5File& out, const TokenFileInfo& info, const TokenFilePart& part) {
  if (info.pairs) {
    std::vector<std::int64_t> second;
    std::int64_t begin = part.first_token;
    for (std::size_t i = 0; i < part.document_lengths.size(); ++i) {
      second.push_back(begin + part.first_lengths[i]);
      begin += part.document_lengths[i];
    }
    write_rows(out, kSecond, second, part.first_document, 0);
  }
  if (!info.labels) return;
  if (info.labels->single())
    write_rows(out, kLabels, part.labels, part.first_document, 0);
  else
    write_rows(out, kTargets, part.targets, part.first_document, info.labels->n_labels());
}

std::int64_t label_bytes(const TokenFileInfo& info) {
  const std::int64_t each =
      info.labels ? (info.labels->single() ? 4 : 4 * info.labels->n_labels()) : 0;
  return info.n_documents * (each + (info.pairs ? 8 : 0));
}

// What would make a file that no reader accepts.
void check_part(const TokenFileInfo& info, const TokenFilePart& part) {
  CHECK(std::accumulate(part.document_lengths.begin(), part.document_lengths.end(),
                        std::int64_t{0}) == static_cast<std::int64_t>(part.tokens.size()),
        "the documents' lengths do not sum to {} tokens", part.tokens.size());
  const std::size_t n = part.document_lengths.size();
  CHECK(part.first_lengths.size() == (info.pairs ? n : 0), "{} first texts of {} documents",
        part.first_lengths.size(), n);
  const std::size_t n_labels = info.labels && info.labels->single() ? n : 0,
                    n_targets =
                        info.labels && !info.labels->single() ? n * info.labels->names.size() : 0;
  CHECK(part.labels.size() == n_labels && part.targets.size() == n_targets,
        "{} labels and {} targets of {} documents", part.labels.size(), part.targets.size(), n);
  for (const std::int32_t token : part.tokens)
    CHECK(token >= 0 && token < info.vocab_size, "token {} of a vocabulary of {}", token,
          info.vocab_size);
}

std::int64_t file_bytes(const TokenFileInfo& info) {
  const std::int64_t width = info.vocab_size <= 65536 ? 2 : 4;
  return width * info.n_tokens + 8 * (info.n_documents + 1) +
         static_cast<std::int64_t>(info.tokenizer.size()) + label_bytes(info) + (1 << 15);
}

}  // namespace

void write_token_file(const std::filesystem::path& file, const TokenFileInfo& info,
                      const TokenFilePart& part, Communicator& world, Stream& stream) {
  const bool first = world.rank() == 0;
  throw_together(world, failure_of([&] { check_part(info, part); }), stream);
  std::optional<FileBeside> beside;  // rank 0's
  on_first_rank(world, stream, [&] {
    check_place("--out", file);
    beside.emplace(file).reserve(file_bytes(info));
    create_token_file(beside->path(), info);
  });
  Hdf5File::fill_together(beside ? beside->path() : "", world, stream, [&](Hdf5File& out) {
    write_tokens(out, info, part);
    write_offsets(out, part, first);
    if (format_of(info.task) == kFormatOfTexts) write_labels(out, info, part);
  });
  on_first_rank(world, stream, [&] { beside->put_in_place(); });
}

}  // namespace weft
