#include "io/token_file.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <sstream>

#include "core/check.h"
#include "core/checksum.h"
#include "io/json.h"

namespace weft {
namespace {

constexpr std::int64_t kFormat = 1, kFormatOfTexts = 2;
constexpr std::int64_t kBlock = 1 << 22;  // tokens
constexpr const char* kTokens = "/tokens";
constexpr const char* kOffsets = "/document_offsets";
constexpr const char* kTokenizer = "/tokenizer";
constexpr const char* kBegin = "begin_tokens";
constexpr const char* kTrain = "train_tokens";
constexpr const char* kWrapping = "/wrapping";
constexpr const char* kSecond = "/second_offsets";
constexpr const char* kProblem = "/problem";
constexpr const char* kLabels = "/labels";
constexpr const char* kTargets = "/targets";
constexpr std::int64_t kMaxLabels = 1 << 20;

// Removes a file that was not put in place.
struct Leftover {
  std::filesystem::path file;
  bool ours;
  ~Leftover() {
    std::error_code ignored;
    if (ours) std::filesystem::remove(file, ignored);
  }
};

std::int64_t format_of(const std::string& task) { return task == "clm" ? kFormat : kFormatOfTexts; }

// ---- format 2: what stands around a text, and its labels

OrderedJson to_json(const Wrapping& w) {
  const auto piece = [](const Wrapping::Piece& p) {
    return OrderedJson({{"ids", p.ids}, {"types", p.types}});
  };
  return {{"before", piece(w.before)},
          {"between", piece(w.between)},
          {"behind", piece(w.behind)},
          {"first_type", w.first_type},
          {"second_type", w.second_type}};
}

Wrapping wrapping_from(const Json& json, std::int64_t vocab_size, const std::string& origin) {
  const auto piece = [&](const char* key) {
    Wrapping::Piece p;
    for (const char* list : {"ids", "types"}) {
      const Json values =
          json.contains(key) && json[key].is_object() ? json[key].value(list, Json()) : Json();
      CHECK_USER(values.is_array() && values.size() <= 1024,
                 "{}: {} has no list of {}; the file is damaged", origin, key, list);
      for (const Json& v : values) {
        const bool fits = v.is_number_integer() && v.get<std::int64_t>() >= 0 &&
                          v.get<std::int64_t>() < (list[0] == 'i' ? vocab_size : 1 << 20);
        CHECK_USER(fits, "{}: {} holds {}; the file is damaged", origin, list,
                   v.dump().substr(0, 40));
        (list[0] == 'i' ? p.ids : p.types).push_back(v.get<std::int32_t>());
      }
    }
    CHECK_USER(p.ids.size() == p.types.size(),
               "{}: {} has {} ids and {} types; the file is damaged", origin, key, p.ids.size(),
               p.types.size());
    return p;
  };
  const JsonReader reader(json, origin);
  return {piece("before"), piece("between"), piece("behind"),
          static_cast<std::int32_t>(reader.integer("first_type", 0, 1 << 20)),
          static_cast<std::int32_t>(reader.integer("second_type", 0, 1 << 20))};
}

OrderedJson to_json(const LabelKind& kind) {
  OrderedJson names = OrderedJson::object();
  for (std::size_t i = 0; i < kind.names.size(); ++i) names[std::to_string(i)] = kind.names[i];
  return {{"problem_type", kind.problem}, {"id2label", std::move(names)}};
}

LabelKind label_kind_from(const Json& json, const std::string& origin) {
  LabelKind kind;
  kind.problem = JsonReader(json, origin).string("problem_type", "");
  CHECK_USER(kind.problem == "single_label_classification" ||
                 kind.problem == "multi_label_classification" || kind.problem == "regression",
             "{}: problem_type is '{}'; allowed: single_label_classification, "
             "multi_label_classification, regression",
             origin, kind.problem.substr(0, 60));
  const Json names = json.value("id2label", Json());
  CHECK_USER(
      names.is_object() && !names.empty() && names.size() <= static_cast<std::size_t>(kMaxLabels),
      "{}: id2label does not name 1 to {} labels", origin, kMaxLabels);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string id = std::to_string(i);
    CHECK_USER(names.contains(id) && names[id].is_string(), "{}: id2label has no name for {}",
               origin, id);
    kind.names.push_back(names[id].get<std::string>());
  }
  return kind;
}

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
    out.write_text(kWrapping, to_json(info.wrapping).dump());
    if (info.pairs) out.create_dataset(kSecond, DType::i64, {info.n_documents});
    if (info.labels) out.write_text(kProblem, to_json(*info.labels).dump());
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

}  // namespace

void write_token_file(const std::filesystem::path& file, const TokenFileInfo& info,
                      const TokenFilePart& part, const void* mpi_comm, bool is_first_rank,
                      const std::function<void(const std::optional<Failure>&)>& throw_together) {
  // Two processes that write one file at once do not touch each other's.
  const std::filesystem::path beside = fmt::format("{}.{}.tmp", file.string(), ::getpid());
  const Leftover leftover = {beside, is_first_rank};
  throw_together(failure_of([&] {
    check_part(info, part);
    std::error_code error;
    CHECK_USER(!std::filesystem::is_directory(file, error), "{}: is a folder, not a file",
               file.string());
    const std::int64_t width = info.vocab_size <= 65536 ? 2 : 4;
    if (is_first_rank)
      reserve_room(beside, width * info.n_tokens + 8 * (info.n_documents + 1) +
                               static_cast<std::int64_t>(info.tokenizer.size()) +
                               label_bytes(info) + (1 << 15));
  }));
  throw_together(is_first_rank ? failure_of([&] { create_token_file(beside, info); })
                               : std::nullopt);
  throw_together(failure_of([&] {
    Hdf5File::fill_together(beside, mpi_comm, [&](Hdf5File& out) {
      write_tokens(out, info, part);
      write_offsets(out, part, is_first_rank);
      if (format_of(info.task) == kFormatOfTexts) write_labels(out, info, part);
    });
  }));
  throw_together(is_first_rank ? failure_of([&] { put_in_place(beside, file); }) : std::nullopt);
}

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
      to_json(info_.wrapping).dump() +
      (info_.labels
           ? to_json(*info_.labels).dump(-1, ' ', true, OrderedJson::error_handler_t::replace)
           : "");
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
