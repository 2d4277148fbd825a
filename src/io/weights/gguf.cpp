#include "io/weights/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/short_decimal.h"
#include "io/lfs_pointer.h"
#include "io/weights/gguf_blocks.h"

namespace weft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "GGUF files are little-endian and mapped as they are");

constexpr std::uint64_t kMaxName =
    512;  // bytes of a key or a tensor's name; ggml allows 64 for tensors
constexpr std::uint64_t kMaxElements =
    32'000'000;  // of all arrays in the metadata; a vocabulary of 262,144 makes 1.4 million
constexpr int kMaxDepth = 4;  // of arrays in arrays
constexpr std::uint64_t kMaxAlignment = 1 << 20;

struct GgmlType {
  std::uint32_t id;
  const char* name;
  TensorFormat format;  // elements: stored one by one, as `dtype`
  DType dtype = DType::f32;
};
using enum TensorFormat;
constexpr GgmlType kTypes[] = {{0, "F32", elements, DType::f32},
                               {1, "F16", elements, DType::f16},
                               {30, "BF16", elements, DType::bf16},
                               {28, "F64", elements, DType::f64},
                               {24, "I8", elements, DType::i8},
                               {26, "I32", elements, DType::i32},
                               {27, "I64", elements, DType::i64},
                               {2, "Q4_0", q4_0},
                               {3, "Q4_1", q4_1},
                               {6, "Q5_0", q5_0},
                               {7, "Q5_1", q5_1},
                               {8, "Q8_0", q8_0},
                               {10, "Q2_K", q2_k},
                               {11, "Q3_K", q3_k},
                               {12, "Q4_K", q4_k},
                               {13, "Q5_K", q5_k},
                               {14, "Q6_K", q6_k}};

// Those that Weft does not read, by name for the error.
std::string unread_type(std::uint32_t id) {
  constexpr std::pair<std::uint32_t, const char*> kNames[] = {
      {9, "Q8_1"},   {15, "Q8_K"},   {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
      {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"},   {22, "IQ2_S"},  {23, "IQ4_XS"},
      {25, "I16"},   {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"},
      {40, "NVFP4"}, {41, "Q1_0"}};
  for (const auto& [known, name] : kNames)
    if (known == id) return name;
  return fmt::format("{}, which is none of ggml's", id);
}

enum ValueType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64,
  n_value_types
};
constexpr std::uint64_t kLeastBytes[] = {1, 1, 2,  2, 4, 4, 4,
                                         1, 8, 12, 8, 8, 8};  // of a value of each type

// Reads forward; whatever would pass the end of the file is a UserError.
class Cursor {
 public:
  Cursor(const std::string& file, const MappedFile& map)
      : file_(file), data_(map.data()), bytes_(map.bytes()) {}
  std::uint64_t at() const { return at_; }
  std::uint64_t left() const { return bytes_ - at_; }
  const std::string& file() const { return file_; }

  const std::byte* take(std::uint64_t n, const std::string& what) {
    CHECK_USER(
        n <= left(),
        "{}: ends inside {} (it claims {} bytes at byte {} of {}); it is truncated or damaged",
        file_, what, n, at_, bytes_);
    at_ += n;
    return data_ + (at_ - n);
  }
  template <class T>
  T number(const std::string& what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }
  std::string text(std::uint64_t most, const std::string& what) {
    const auto n = number<std::uint64_t>(what);
    CHECK_USER(n <= most, "{}: {} is {} bytes long; allowed: at most {}", file_, what, n, most);
    const std::byte* from = take(n, what);
    return {reinterpret_cast<const char*>(from), static_cast<std::size_t>(n)};
  }

 private:
  const std::string& file_;
  const std::byte* data_;
  std::uint64_t bytes_, at_ = 0;
};

// 0.00001f is 0.00001, not 9.99999974e-06, so that what is written from it looks as the model's own
// files do.
double shortest(float x) { return std::isfinite(x) ? short_decimal(x) : static_cast<double>(x); }

Json read_value(Cursor& in, std::uint32_t type, const std::string& key, int depth,
                std::uint64_t* elements_left) {
  switch (type) {
    case u8:
      return in.number<std::uint8_t>(key);
    case i8:
      return in.number<std::int8_t>(key);
    case u16:
      return in.number<std::uint16_t>(key);
    case i16:
      return in.number<std::int16_t>(key);
    case u32:
      return in.number<std::uint32_t>(key);
    case i32:
      return in.number<std::int32_t>(key);
    case u64:
      return in.number<std::uint64_t>(key);
    case i64:
      return in.number<std::int64_t>(key);
    case f32:
      return shortest(in.number<float>(key));
    case f64:
      return in.number<double>(key);
    case boolean:
      return in.number<std::uint8_t>(key) != 0;
    case string:
      return in.text(~0ull, key);
    case array:
      break;
    default:
      user_error("{}: {} has value type {}; allowed: 0 to {}", in.file(), key, type,
                 n_value_types - 1);
  }
  CHECK_USER(depth < kMaxDepth, "{}: {} holds arrays deeper than {}", in.file(), key, kMaxDepth);
  const auto inner = in.number<std::uint32_t>(key);
  const auto n = in.number<std::uint64_t>(key);
  CHECK_USER(inner < n_value_types, "{}: {} is an array of value type {}; allowed: 0 to {}",
             in.file(), key, inner, n_value_types - 1);
  CHECK_USER(n <= in.left() / kLeastBytes[inner],
             "{}: {} claims an array of {} values, but {} bytes follow; it is truncated or damaged",
             in.file(), key, n, in.left());
  CHECK_USER(n <= *elements_left, "{}: {} claims an array of {} values; allowed in one file: {}",
             in.file(), key, n, kMaxElements);
  *elements_left -= n;
  Json::array_t values;
  values.reserve(static_cast<std::size_t>(n));
  for (std::uint64_t i = 0; i < n; ++i)
    values.push_back(read_value(in, inner, key, depth + 1, elements_left));
  return values;
}

Json read_metadata(Cursor& in, std::uint64_t n_keys) {
  Json metadata = Json::object();
  std::uint64_t elements_left = kMaxElements;
  for (std::uint64_t i = 0; i < n_keys; ++i) {
    const std::string key = in.text(kMaxName, fmt::format("the name of key {}", i));
    CHECK_USER(!metadata.contains(key), "{}: key {} stands there twice", in.file(), key);
    const auto type = in.number<std::uint32_t>(key);
    metadata[key] = read_value(in, type, key, 0, &elements_left);
  }
  return metadata;
}

struct Placed {
  StoredTensor tensor;
  std::uint64_t offset = 0, bytes = 0;
};

// A tensor's entry; where it lies is checked when the data's begin is known.
Placed read_entry(Cursor& in, std::uint64_t index) {
  Placed placed;
  StoredTensor& tensor = placed.tensor;
  tensor.file = in.file();
  tensor.name = in.text(kMaxName, fmt::format("the name of tensor {}", index));
  const std::string what = fmt::format("tensor {}", tensor.name);
  const auto rank = in.number<std::uint32_t>(what);
  CHECK_USER(rank <= static_cast<std::uint32_t>(kMaxRank),
             "{}: {} has {} dims; allowed: at most {}", in.file(), what, rank, kMaxRank);
  std::vector<std::int64_t> dims(rank);
  unsigned __int128 elems = 1;
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto d = in.number<std::uint64_t>(what);
    CHECK_USER(d <= (1ull << 48), "{}: {} has a dim of {}, which is more than any file holds",
               in.file(), what, d);
    elems *= d;
    CHECK_USER(elems <= (static_cast<unsigned __int128>(1) << 60),
               "{}: {} has dims whose product is more than any file holds", in.file(), what);
    dims[rank - 1 - i] =
        static_cast<std::int64_t>(d);  // Hugging Face counts them the other way round
  }
  tensor.shape = Dims(dims);
  const auto id = in.number<std::uint32_t>(what);
  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const GgmlType& t) { return t.id == id; });
  CHECK_USER(type != std::end(kTypes),
             "{}: {} has type {}; allowed: F32, F16, BF16, F64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, "
             "Q2_K, Q3_K, Q4_K, Q5_K, Q6_K",
             in.file(), what, unread_type(id));
  tensor.format = type->format;
  tensor.dtype = type->dtype;
  if (type->format == elements) {
    placed.bytes = static_cast<std::uint64_t>(elems) * dtype_bytes(type->dtype);
  } else {
    const BlockSize size = block_size(type->format);
    const std::int64_t row = rank == 0 ? 1 : dims.back();
    CHECK_USER(row % size.elems == 0, "{}: {} is {} with rows of {}; they must be a multiple of {}",
               in.file(), what, type->name, row, size.elems);
    placed.bytes =
        static_cast<std::uint64_t>(elems) / static_cast<std::uint64_t>(size.elems) * size.bytes;
  }
  placed.offset = in.number<std::uint64_t>(what);
  return placed;
}

std::uint64_t alignment_of(const Json& metadata, const std::string& file) {
  if (!metadata.contains("general.alignment")) return 32;
  const Json& value = metadata["general.alignment"];
  CHECK_USER(value.is_number_unsigned() && std::has_single_bit(value.get<std::uint64_t>()) &&
                 value.get<std::uint64_t>() <= kMaxAlignment,
             "{}: general.alignment is {}; allowed: powers of two up to {}", file, brief(value, 40),
             kMaxAlignment);
  return value.get<std::uint64_t>();
}

void check_places(std::vector<Placed>& list, std::uint64_t alignment, std::uint64_t data_bytes,
                  const std::string& file) {
  std::vector<const Placed*> order;
  for (const Placed& p : list) {
    CHECK_USER(p.offset % alignment == 0,
               "{}: tensor {} begins at byte {} of the data, which is no multiple of {}", file,
               p.tensor.name, p.offset, alignment);
    CHECK_USER(p.offset <= data_bytes && p.bytes <= data_bytes - p.offset,
               "{}: tensor {} claims {} bytes from byte {} of the data, but the file holds {}; it "
               "is truncated or damaged",
               file, p.tensor.name, p.bytes, p.offset, data_bytes);
    order.push_back(&p);
  }
  std::sort(order.begin(), order.end(), [](const Placed* a, const Placed* b) {
    return std::pair(a->offset, a->bytes) < std::pair(b->offset, b->bytes);
  });
  for (std::size_t i = 1; i < order.size(); ++i)
    CHECK_USER(order[i - 1]->offset + order[i - 1]->bytes <= order[i]->offset,
               "{}: tensors {} and {} overlap at byte {} of the data", file,
               order[i - 1]->tensor.name, order[i]->tensor.name, order[i]->offset);
}

}  // namespace

bool GgufReader::is_gguf(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return false;
  std::ifstream in(file, std::ios::binary);
  std::string head(64, '\0');
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(in.gcount()));
  refuse_lfs_pointer(file.string(), head);
  return head.starts_with("GGUF");
}

GgufReader::GgufReader(const std::filesystem::path& file) : file_(file.string()) {
  map_ = std::make_unique<MappedFile>(file, 24, "GGUF");
  read_mapping(*map_, [&] { read(); });
}

void GgufReader::read() {
  Cursor in(file_, *map_);
  CHECK_USER(std::memcmp(in.take(4, "the magic"), "GGUF", 4) == 0,
             "{}: is not a GGUF file (it does not begin with GGUF)", file_);
  const auto version = in.number<std::uint32_t>("the version");
  CHECK_USER((version & 0xFFFF) != 0,
             "{}: is a big-endian GGUF file; only little-endian ones are read", file_);
  CHECK_USER(version == 2 || version == 3, "{}: is GGUF version {}; allowed: 2, 3", file_, version);
  const auto n_tensors = in.number<std::uint64_t>("the header"),
             n_keys = in.number<std::uint64_t>("the header");
  CHECK_USER(n_keys <= in.left() / 13,
             "{}: claims {} keys, but {} bytes follow; it is truncated or damaged", file_, n_keys,
             in.left());
  CHECK_USER(n_tensors <= in.left() / 24,
             "{}: claims {} tensors, but {} bytes follow; it is truncated or damaged", file_,
             n_tensors, in.left());
  metadata_ = read_metadata(in, n_keys);
  const Json parts = metadata_.value("split.count", Json());
  CHECK_USER(!parts.is_number_integer() || parts.get<std::int64_t>() <= 1,
             "{}: is one of {} parts of a model; join them first (llama-gguf-split --merge), since "
             "one file is read",
             file_, brief(parts));
  std::vector<Placed> list;
  for (std::uint64_t i = 0; i < n_tensors; ++i) list.push_back(read_entry(in, i));
  const std::uint64_t alignment = alignment_of(metadata_, file_);
  const std::uint64_t begin =
      std::min<std::uint64_t>((in.at() + alignment - 1) / alignment * alignment, map_->bytes());
  check_places(list, alignment, map_->bytes() - begin, file_);
  for (Placed& p : list) {
    p.tensor.data = map_->data() + begin + p.offset;
    const std::string name = p.tensor.name;
    CHECK_USER(tensors_.try_emplace(name, std::move(p.tensor)).second,
               "{}: tensor {} stands there twice", file_, name);
  }
}

const StoredTensor* GgufReader::find(const std::string& name) const {
  const auto at = tensors_.find(name);
  return at == tensors_.end() ? nullptr : &at->second;
}

}  // namespace weft
