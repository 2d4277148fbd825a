#include "io/weights/torch_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "core/check.h"
#include "core/utf8.h"
#include "io/mapped_file.h"
#include "io/weights/pickle.h"
#include "io/weights/weight_files.h"
#include "io/weights/zip_archive.h"

namespace weft {
namespace {

static_assert(std::endian::native == std::endian::little, "storages are mapped as they are");

constexpr std::size_t kMaxPickle = 32 << 20;

// As a storage's class or a dtype is called; null dtype: one that no weights of ours have.
struct TorchType {
  const char *storage, *dtype;
  std::size_t bytes;
  std::optional<DType> ours;
};
constexpr TorchType kTypes[] = {{"FloatStorage", "float32", 4, DType::f32},
                                {"HalfStorage", "float16", 2, DType::f16},
                                {"BFloat16Storage", "bfloat16", 2, DType::bf16},
                                {"DoubleStorage", "float64", 8, DType::f64},
                                {"LongStorage", "int64", 8, DType::i64},
                                {"IntStorage", "int32", 4, DType::i32},
                                {"ShortStorage", "int16", 2, std::nullopt},
                                {"CharStorage", "int8", 1, DType::i8},
                                {"ByteStorage", "uint8", 1, DType::u8},
                                {"BoolStorage", "bool", 1, DType::u8},
                                {"ComplexFloatStorage", "complex64", 8, std::nullopt},
                                {"ComplexDoubleStorage", "complex128", 16, std::nullopt},
                                {"", "uint16", 2, DType::u16},
                                {"", "uint32", 4, std::nullopt},
                                {"", "uint64", 8, std::nullopt},
                                {"", "float8_e4m3fn", 1, std::nullopt},
                                {"", "float8_e5m2", 1, std::nullopt},
                                {"", "float8_e4m3fnuz", 1, std::nullopt},
                                {"", "float8_e5m2fnuz", 1, std::nullopt},
                                {"", "float8_e8m0fnu", 1, std::nullopt}};

const TorchType* type_of_storage(std::string_view name) {
  for (const TorchType& t : kTypes)
    if (*t.storage && name == std::string("torch.") + t.storage) return &t;
  return nullptr;
}
const TorchType* type_of_dtype(std::string_view name) {
  for (const TorchType& t : kTypes)
    if (name == std::string("torch.") + t.dtype) return &t;
  return nullptr;
}

constexpr const char* kUntyped[] = {"torch.storage.UntypedStorage", "torch.UntypedStorage"};
constexpr const char* kDict = "collections.OrderedDict";
constexpr const char* kTensor = "torch._utils._rebuild_tensor_v2";
constexpr const char* kOldTensor = "torch._utils._rebuild_tensor";
constexpr const char* kTypedTensor = "torch._utils._rebuild_tensor_v3";
constexpr const char* kParameter = "torch._utils._rebuild_parameter";
constexpr const char* kStatefulParameter = "torch._utils._rebuild_parameter_with_state";

bool is_untyped(std::string_view name) {
  return std::find(std::begin(kUntyped), std::end(kUntyped), name) != std::end(kUntyped);
}

// The names that a state dict of tensors is pickled with.
bool allowed(std::string_view name) {
  constexpr const char* kNames[] = {kDict,        kTensor,       kOldTensor,
                                    kParameter,   kTypedTensor,  kStatefulParameter,
                                    "torch.Size", "torch.device"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames) ||
         is_untyped(name) || type_of_storage(name) || type_of_dtype(name);
}

std::string list_of(const std::vector<std::int64_t>& numbers) {
  return fmt::format("({})", fmt::join(numbers, ", "));
}

// What a tensor is, of a storage: torch's own fields.
struct Description {
  std::string key;  // of the storage
  const TorchType* type = nullptr;
  std::int64_t storage_elems = 0, offset = 0;
  std::vector<std::int64_t> shape, strides;
};

// Where its elements follow each other without a gap, in C order; dims of one element aside.
bool is_contiguous(const Description& d) {
  std::int64_t next = 1;
  for (std::size_t i = d.shape.size(); i-- > 0;) {
    if (d.shape[i] != 1 && d.strides[i] != next) return false;
    next *= d.shape[i];
  }
  return true;
}
bool is_transposed(const Description& d) {
  return d.shape.size() == 2 && d.strides[0] == 1 && d.strides[1] == d.shape[0];
}

}  // namespace

class TorchReader::File {
 public:
  explicit File(const std::filesystem::path& path)
      : name_(path.string()), map_(path, 4, "pytorch_model.bin") {
    read_mapping(map_, [&] { read(); });
  }
  std::vector<StoredTensor> take() { return std::move(tensors_); }

  void check_storage(const std::string& tensor) {
    const std::lock_guard lock(mutex_);
    const auto at = entry_of_.find(tensor);
    if (at != entry_of_.end() && checked_.insert(at->second).second)
      archive_->check_crc(at->second);
  }

 private:
  void read();
  void read_dict(const Pickle& pickle);
  void add(const Pickle& pickle, const std::string& name, const PickleValue& value);
  Description describe(const Pickle& pickle, const std::string& name,
                       const PickleValue& value) const;
  void describe_storage(const Pickle& pickle, PickleRef at, Description& d,
                        const std::string& what) const;
  std::vector<std::int64_t> sizes(const Pickle& pickle, PickleRef at,
                                  const std::string& what) const;
  StoredTensor place(const Description& d, const std::string& name);
  const std::byte* gather(const Description& d, const std::byte* storage);

  std::string name_, folder_;
  MappedFile map_;
  std::optional<ZipArchive> archive_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> entry_of_;   // tensor: where its storage is
  std::vector<std::vector<std::byte>> gathered_;  // of views that no stretch of a storage is
  std::size_t gathered_bytes_ = 0;
  std::mutex mutex_;
  std::set<std::string> checked_;
};

void TorchReader::File::read() {
  const std::span<const std::byte> bytes(map_.data(), map_.bytes());
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min<std::size_t>(bytes.size(), 4));
  CHECK_USER(!head.starts_with("\x80\x02"),
             "{}: is in the format of torch.save before version 1.6, which is not read; save it "
             "again with a newer torch, which reads both: torch.save(torch.load(F, "
             "weights_only=True), F), or as safetensors with save_pretrained",
             name_);
  CHECK_USER(head == "PK\x03\x04", "{}: is not a file of torch.save (no zip archive)", name_);
  archive_.emplace(name_, bytes);
  for (const auto& [entry, unused] : archive_->entries()) {
    const std::size_t slash = entry.find('/');
    if (slash == std::string::npos) continue;
    CHECK_USER(entry.substr(slash) != "/constants.pkl",
               "{}: is a TorchScript program, not a state dict; save its state_dict()", name_);
    if (entry.substr(slash) == "/data.pkl") folder_ = entry.substr(0, slash);
  }
  const ZipEntry* pickled = archive_->find(folder_ + "/data.pkl");
  CHECK_USER(pickled, "{}: holds no data.pkl; it is not a file of torch.save", name_);
  const ZipEntry* order = archive_->find(folder_ + "/byteorder");
  CHECK_USER(!order || order->data.size() != 3, "{}: was saved on a big-endian machine", name_);
  CHECK_USER(pickled->data.size() <= kMaxPickle,
             "{}: its data.pkl has {} bytes, more than descriptions of tensors take", name_,
             pickled->data.size());
  archive_->check_crc(folder_ + "/data.pkl");
  read_dict(Pickle(name_ + ": its data.pkl", pickled->data, allowed));
}

void TorchReader::File::read_dict(const Pickle& pickle) {
  const PickleValue& root = pickle.root();
  const bool is_dict =
      root.kind == PickleKind::dict || (root.kind == PickleKind::call && root.text == kDict);
  CHECK_USER(is_dict && root.items.size() % 2 == 0,
             "{}: does not hold a dict of tensors; save a model's state_dict()", name_);
  std::string others;
  for (std::size_t i = 0; i < root.items.size(); i += 2) {
    const PickleValue &key = pickle[root.items[i]], &value = pickle[root.items[i + 1]];
    if (key.kind != PickleKind::text) continue;
    CHECK_USER(is_utf8(key.text), "{}: a tensor's name is not UTF-8", name_);
    if (value.kind == PickleKind::call && value.text != kDict)
      add(pickle, key.text, value);
    else if (others.size() < 60)
      others += (others.empty() ? "" : ", ") + key.text.substr(0, 40);
  }
  CHECK_USER(!tensors_.empty() || others.empty(),
             "{}: holds no tensors by name, but {}; save the state dict that is within alone",
             name_, others);
}

void TorchReader::File::add(const Pickle& pickle, const std::string& name,
                            const PickleValue& value) {
  for (const PickleValue* v = &value;;) {
    const PickleValue& arguments = pickle[v->of];
    if (v->text != kParameter && v->text != kStatefulParameter) {
      const bool known = v->text == kTensor || v->text == kOldTensor || v->text == kTypedTensor;
      if (!known) return;  // a torch.Size or the like
      const Description d = describe(pickle, name, *v);
      tensors_.push_back(place(d, name));
      return;
    }
    CHECK_USER(!arguments.items.empty() && pickle[arguments.items[0]].kind == PickleKind::call &&
                   arguments.items[0] < v->of,
               "{}: tensor {} is damaged", name_, name);
    v = &pickle[arguments.items[0]];
  }
}

std::vector<std::int64_t> TorchReader::File::sizes(const Pickle& pickle, PickleRef at,
                                                   const std::string& what) const {
  const PickleValue* list = &pickle[at];
  if (list->kind == PickleKind::call && list->text == "torch.Size") {
    const PickleValue& arguments = pickle[list->of];
    CHECK_USER(!arguments.items.empty(), "{} has no sizes", what);
    list = &pickle[arguments.items[0]];
  }
  CHECK_USER(list->kind == PickleKind::list && list->items.size() <= 64, "{} has no sizes", what);
  std::vector<std::int64_t> all;
  for (const PickleRef item : list->items) {
    const PickleValue& n = pickle[item];
    CHECK_USER(n.kind == PickleKind::integer && n.integer >= 0 && n.integer <= (1ll << 48),
               "{} has a size that is none", what);
    all.push_back(n.integer);
  }
  return all;
}

void TorchReader::File::describe_storage(const Pickle& pickle, PickleRef at, Description& d,
                                         const std::string& what) const {
  const PickleValue& known_by = pickle[at];
  CHECK_USER(known_by.kind == PickleKind::persistent && pickle[known_by.of].items.size() >= 5,
             "{} has no storage", what);
  const std::vector<PickleRef>& id = pickle[known_by.of].items;  // 'storage', class, key, device, n
  const PickleValue &kind = pickle[id[0]], &type = pickle[id[1]], &key = pickle[id[2]],
                    &n = pickle[id[4]];
  CHECK_USER(kind.text == "storage" && type.kind == PickleKind::global &&
                 key.kind == PickleKind::text && n.kind == PickleKind::integer && n.integer >= 0,
             "{} has no storage", what);
  d.key = key.text;
  d.storage_elems = n.integer;
  if (is_untyped(type.text)) return;  // the count is of bytes, the dtype the tensor's own
  d.type = type_of_storage(type.text);
  CHECK_USER(d.type, "{} has no storage", what);
}

Description TorchReader::File::describe(const Pickle& pickle, const std::string& name,
                                        const PickleValue& value) const {
  const std::string what = name_ + ": tensor " + name;
  const std::vector<PickleRef>& arguments = pickle[value.of].items;
  CHECK_USER(arguments.size() >= 4, "{} is damaged", what);
  Description d;
  describe_storage(pickle, arguments[0], d, what);
  const PickleValue& offset = pickle[arguments[1]];
  CHECK_USER(offset.kind == PickleKind::integer && offset.integer >= 0, "{} has no offset", what);
  d.offset = offset.integer;
  d.shape = sizes(pickle, arguments[2], what);
  d.strides = sizes(pickle, arguments[3], what);
  CHECK_USER(d.shape.size() == d.strides.size(), "{} has {} sizes and {} strides", what,
             d.shape.size(), d.strides.size());
  if (value.text == kTypedTensor) {  // (storage, offset, size, strides, grad, hooks, dtype, …)
    CHECK_USER(arguments.size() >= 7, "{} is damaged", what);
    d.type = type_of_dtype(pickle[arguments[6]].text);
    if (d.type) d.storage_elems /= static_cast<std::int64_t>(d.type->bytes);
  }
  CHECK_USER(d.type, "{} has no dtype", what);
  return d;
}

StoredTensor TorchReader::File::place(const Description& d, const std::string& name) {
  const std::string what = name_ + ": tensor " + name;
  StoredTensor tensor;
  tensor.name = name;
  tensor.file = name_;
  const std::string place = folder_ + "/data/" + d.key;
  const ZipEntry* entry = archive_->find(place);
  CHECK_USER(entry, "{} is in storage {}, which is missing", what, d.key.substr(0, 40));
  CHECK_USER(static_cast<std::uint64_t>(d.storage_elems) <= entry->data.size() / d.type->bytes,
             "{} has a storage of {} elements, but the file holds {} bytes of it; it is truncated "
             "or damaged",
             what, d.storage_elems, entry->data.size());
  // One past the last element that it reaches; sizes and strides are below 2^48 each.
  unsigned __int128 reach = 1, elems = 1;
  for (std::size_t i = 0; i < d.shape.size(); ++i) {
    elems = std::min<unsigned __int128>(elems * static_cast<std::uint64_t>(d.shape[i]),
                                        static_cast<unsigned __int128>(1) << 62);
    if (d.shape[i] > 0)
      reach +=
          static_cast<unsigned __int128>(d.shape[i] - 1) * static_cast<std::uint64_t>(d.strides[i]);
  }
  if (elems == 0) reach = 0;
  CHECK_USER(d.offset <= d.storage_elems &&
                 reach <= static_cast<std::uint64_t>(d.storage_elems - d.offset),
             "{} of {} reaches beyond its storage of {} elements; it is damaged", what,
             list_of(d.shape), d.storage_elems);
  entry_of_[name] = place;
  if (!d.type->ours)
    tensor.unreadable = fmt::format("is {}", d.type->dtype);
  else
    tensor.dtype = *d.type->ours;
  if (d.shape.size() > static_cast<std::size_t>(kMaxRank)) {
    tensor.unreadable = fmt::format("has {} dims", d.shape.size());
    return tensor;
  }
  const std::byte* storage =
      entry->data.data() + static_cast<std::size_t>(d.offset) * d.type->bytes;
  tensor.data = storage;
  if (elems == 0 || is_contiguous(d)) {
    tensor.shape = Dims(d.shape);
  } else if (is_transposed(d)) {
    tensor.shape = Dims(d.shape);
    tensor.transposed = true;
  } else if (elems > static_cast<std::uint64_t>(d.storage_elems) ||
             gathered_bytes_ > map_.bytes()) {
    tensor.unreadable =
        fmt::format("repeats elements by its strides {}; save it contiguous", list_of(d.strides));
  } else {
    tensor.shape = Dims(d.shape);
    tensor.data = gather(d, storage);
  }
  return tensor;
}

// The elements of a view in C order: a copy, since they do not follow each other in the file.
const std::byte* TorchReader::File::gather(const Description& d, const std::byte* storage) {
  const std::size_t bytes = d.type->bytes, rank = d.shape.size();
  std::size_t elems = 1;
  for (const std::int64_t n : d.shape) elems *= static_cast<std::size_t>(n);
  std::vector<std::byte>& out = gathered_.emplace_back(elems * bytes);
  gathered_bytes_ += out.size();
  std::vector<std::int64_t> at(rank, 0);
  std::int64_t from = 0;
  for (std::size_t i = 0; i < elems; ++i) {
    std::memcpy(out.data() + i * bytes, storage + static_cast<std::size_t>(from) * bytes, bytes);
    for (std::size_t k = rank; k-- > 0;) {
      from += d.strides[k];
      if (++at[k] < d.shape[k]) break;
      from -= d.strides[k] * d.shape[k];
      at[k] = 0;
    }
  }
  return out.data();
}

TorchReader::TorchReader(const std::filesystem::path& path) {
  const WeightFiles files = find_weight_files(path, "pytorch_model.bin");
  for (const std::filesystem::path& file : files.files) {
    files_.push_back(std::make_unique<File>(file));
    add_tensors(tensors_, files_.back()->take());
  }
  check_owners(files, tensors_);
}

TorchReader::~TorchReader() = default;

const StoredTensor* TorchReader::find(const std::string& name) const {
  const auto at = tensors_.find(name);
  if (at == tensors_.end()) return nullptr;
  for (const auto& file : files_) file->check_storage(name);
  return &at->second;
}

}  // namespace weft
