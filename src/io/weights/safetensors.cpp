#include "io/weights/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <utility>

#include "core/check.h"
#include "io/files.h"
#include "io/json.h"
#include "io/mapped_file.h"
#include "io/weights/weight_files.h"

namespace weft {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian and mapped as they are");

constexpr std::uint64_t kMaxHeader = 100'000'000;  // as the reference implementation

struct DTypeName {
  const char* name;
  DType dtype;
};
constexpr DTypeName kDTypes[] = {{"F32", DType::f32}, {"F16", DType::f16}, {"BF16", DType::bf16},
                                 {"F64", DType::f64}, {"I64", DType::i64}, {"I32", DType::i32},
                                 {"U16", DType::u16}, {"I8", DType::i8},   {"U8", DType::u8},
                                 {"BOOL", DType::u8}};

const char* name_of(DType dtype) {
  for (const DTypeName& d : kDTypes)
    if (d.dtype == dtype) return d.name;
  CHECK(false, "safetensors has no {}", dtype_name(dtype));
}

// Sets the tensor's shape; the number of its elements.
unsigned __int128 read_shape(const std::string& file, const Json& shape, StoredTensor& tensor) {
  CHECK_USER(shape.is_array() && shape.size() <= 64,
             "{}: tensor {} has shape {}; allowed: a list of sizes", file, tensor.name,
             brief(shape, 80));
  std::vector<std::int64_t> dims;
  unsigned __int128 elems = 1;
  for (const Json& d : shape) {
    CHECK_USER(d.is_number_unsigned() && d.get<std::uint64_t>() <= (1ull << 48),
               "{}: tensor {} has shape {}; sizes must be whole and not absurd", file, tensor.name,
               brief(shape, 80));
    dims.push_back(static_cast<std::int64_t>(d.get<std::uint64_t>()));
    elems *= d.get<std::uint64_t>();
    CHECK_USER(elems <= (static_cast<unsigned __int128>(1) << 59),
               "{}: tensor {} claims shape {}, which is more than any file holds", file,
               tensor.name, json_text(shape));
  }
  if (dims.size() > static_cast<std::size_t>(kMaxRank))
    tensor.unreadable = fmt::format("has {} dims", dims.size());
  else
    tensor.shape = Dims(dims);
  return elems;
}

// One entry of the header, checked against the `data_bytes` that follow it.
StoredTensor read_entry(const std::string& file, const std::string& name, const Json& entry,
                        const std::byte* data, std::uint64_t data_bytes,
                        std::pair<std::uint64_t, std::uint64_t>* span) {
  CHECK_USER(entry.is_object() && entry.contains("dtype") && entry.contains("shape") &&
                 entry.contains("data_offsets"),
             "{}: tensor {} lacks dtype, shape or data_offsets", file, name);
  StoredTensor tensor;
  tensor.name = name;
  tensor.file = file;
  CHECK_USER(entry["dtype"].is_string(), "{}: tensor {} has dtype {}; it must be a text", file,
             name, brief(entry["dtype"], 80));
  const std::string dtype = entry["dtype"].get<std::string>().substr(0, 80);
  const auto* known = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                   [&](const DTypeName& d) { return dtype == d.name; });
  if (known == std::end(kDTypes))
    tensor.unreadable = "is " + dtype;
  else
    tensor.dtype = known->dtype;
  const Json& shape = entry["shape"];
  const auto bytes = dtype_bytes(tensor.dtype) * read_shape(file, shape, tensor);
  const Json& offsets = entry["data_offsets"];
  CHECK_USER(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() &&
                 offsets[1].is_number_unsigned(),
             "{}: tensor {} has data_offsets {}; they must be two whole numbers", file, name,
             brief(offsets, 80));
  const auto begin = offsets[0].get<std::uint64_t>(), end = offsets[1].get<std::uint64_t>();
  CHECK_USER(begin <= end && end <= data_bytes,
             "{}: tensor {} claims bytes {} to {}, but the file holds {} bytes of data; it is "
             "truncated or damaged",
             file, name, begin, end, data_bytes);
  CHECK_USER(known == std::end(kDTypes) || end - begin == static_cast<std::uint64_t>(bytes),
             "{}: tensor {} of {} {} takes {} bytes, but its data_offsets hold {}", file, name,
             dtype, json_text(shape), static_cast<std::uint64_t>(bytes), end - begin);
  tensor.data = data + begin;
  *span = {begin, end};
  return tensor;
}

// Objects keep the last of equal keys; the format forbids them, so they are counted while parsing.
Json parse_header(const std::string& file, std::string_view text) {
  std::vector<std::set<std::string>> keys;
  std::string twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      twice = parsed.get<std::string>();
    return true;
  };
  Json header;
  try {
    header = parse_json(text, watch);
  } catch (const Json::exception&) {
    user_error("{}: the header is not valid JSON; this is not a safetensors file, or it is damaged",
               file);
  }
  CHECK_USER(twice.empty(), "{}: {} stands in the header twice", file, twice);
  CHECK_USER(header.is_object(), "{}: the header is not a JSON object", file);
  return header;
}

}  // namespace

struct SafetensorsReader::Mapping {
  MappedFile map;

  explicit Mapping(const std::filesystem::path& file) : map(file, 8, "safetensors") {}

  // All tensors of the file, each byte of the data claimed once.
  std::vector<StoredTensor> tensors(const std::string& file) const {
    std::vector<StoredTensor> list;
    read_mapping(map, [&] { list = read(file); });
    return list;
  }

 private:
  std::vector<StoredTensor> read(const std::string& file) const {
    const std::byte* data = map.data();
    const std::size_t bytes = map.bytes();
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, data, 8);
    CHECK_USER(header_bytes >= 2 && header_bytes <= kMaxHeader && header_bytes <= bytes - 8,
               "{}: claims a header of {} bytes in a file of {}; it is not a safetensors file, or "
               "it is truncated",
               file, header_bytes, bytes);
    const Json header = parse_header(
        file, {reinterpret_cast<const char*>(data) + 8, static_cast<std::size_t>(header_bytes)});
    const std::uint64_t data_bytes = bytes - 8 - header_bytes;
    std::vector<StoredTensor> list;
    std::vector<std::pair<std::pair<std::uint64_t, std::uint64_t>, std::string>> spans;
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") continue;
      std::pair<std::uint64_t, std::uint64_t> span;
      list.push_back(read_entry(file, name, entry, data + 8 + header_bytes, data_bytes, &span));
      spans.emplace_back(span, name);
    }
    std::sort(spans.begin(), spans.end());
    std::uint64_t next = 0;
    for (const auto& [span, name] : spans) {
      CHECK_USER(span.first >= next, "{}: tensor {} overlaps another at byte {}", file, name,
                 span.first);
      CHECK_USER(span.first == next, "{}: {} bytes before tensor {} belong to none", file,
                 span.first - next, name);
      next = span.second;
    }
    CHECK_USER(next == data_bytes, "{}: holds {} bytes of data, but its header describes {}", file,
               data_bytes, next);
    return list;
  }
};

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path) {
  const WeightFiles files = find_weight_files(path, "model.safetensors");
  for (const std::filesystem::path& file : files.files) {
    files_.push_back(std::make_shared<Mapping>(file));
    add_tensors(tensors_, files_.back()->tensors(file.string()));
  }
  check_owners(files, tensors_);
}

const StoredTensor* SafetensorsReader::find(const std::string& name) const {
  const auto at = tensors_.find(name);
  return at == tensors_.end() ? nullptr : &at->second;
}

namespace {

std::size_t bytes_of(const TensorToWrite& t) {
  return static_cast<std::size_t>(t.shape.elems()) * dtype_bytes(t.dtype);
}

std::string header_of(const std::vector<TensorToWrite*>& part) {
  OrderedJson header;
  header["__metadata__"] = {{"format", "pt"}};  // transformers refuses files without it
  std::size_t at = 0;
  for (const TensorToWrite* t : part) {
    header[t->name] = {{"dtype", name_of(t->dtype)},
                       {"shape", std::vector<std::int64_t>(t->shape.begin(), t->shape.end())},
                       {"data_offsets", {at, at + bytes_of(*t)}}};
    at += bytes_of(*t);
  }
  std::string text = json_text(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& dir, std::vector<TensorToWrite>& tensors,
                       std::int64_t max_shard_bytes, bool writes) {
  std::vector<std::vector<TensorToWrite*>> parts(1);
  std::size_t total = 0, in_part = 0;
  for (TensorToWrite& t : tensors) {
    if (!parts.back().empty() &&
        in_part + bytes_of(t) > static_cast<std::size_t>(max_shard_bytes)) {
      parts.emplace_back();
      in_part = 0;
    }
    parts.back().push_back(&t);
    in_part += bytes_of(t);
    total += bytes_of(t);
  }
  const auto file_name = [&](std::size_t i) {
    return parts.size() == 1 ? std::string("model.safetensors")
                             : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, parts.size());
  };
  OrderedJson index = {{"metadata", {{"total_size", total}}},
                       {"weight_map", OrderedJson::object()}};
  std::vector<std::byte> buffer;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    std::unique_ptr<FileBeside> file;
    if (writes) {
      file = std::make_unique<FileBeside>(dir / file_name(i));
      const std::string header = header_of(parts[i]);
      const std::uint64_t size = header.size();
      file->write({reinterpret_cast<const char*>(&size), sizeof size});
      file->write(header);
    }
    for (TensorToWrite* t : parts[i]) {
      buffer.resize(bytes_of(*t));
      t->fill(buffer);
      if (file) file->write({reinterpret_cast<const char*>(buffer.data()), buffer.size()});
      index["weight_map"][t->name] = file_name(i);
    }
    if (file) file->put_in_place();
  }
  if (!writes) return;
  // What an earlier export left under the other layout would be read instead of this one.
  if (parts.size() > 1) {
    write_file_atomically(dir / "model.safetensors.index.json", json_text(index, 2));
    remove_file(dir / "model.safetensors");
  } else {
    remove_file(dir / "model.safetensors.index.json");
  }
}

}  // namespace weft
