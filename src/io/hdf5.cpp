#include "io/hdf5.h"

#include <hdf5.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "core/check.h"

namespace weft {
namespace {

// Closes an HDF5 handle of any kind.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  operator hid_t() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  hid_t id_;
  Close close_;
};

// HDF5's own words for what went wrong last: the innermost entry of its error stack.
std::string last_error() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned n, const H5E_error2_t* e, void* out) -> herr_t {
        if (n == 0 && e->desc) *static_cast<std::string*>(out) = e->desc;
        return 0;
      },
      &text);
  return text.substr(0, 200);
}

#define HDF5_CHECK(call, file, what) \
  CHECK((call) >= 0, "{}: {} failed ({})", (file).string(), what, last_error())

hid_t memory_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return H5T_NATIVE_FLOAT;
    case DType::f64:
      return H5T_NATIVE_DOUBLE;
    case DType::i32:
      return H5T_NATIVE_INT32;
    case DType::i64:
      return H5T_NATIVE_INT64;
    case DType::i8:
      return H5T_NATIVE_INT8;
    case DType::u8:
      return H5T_NATIVE_UINT8;
    case DType::bf16:
    case DType::f16:
    case DType::u16:
      return H5T_NATIVE_UINT16;
  }
  CHECK(false, "HDF5 has no {}", dtype_name(dtype));
}

void quiet() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

}  // namespace

struct Hdf5File::Impl {
  std::filesystem::path path;
  hid_t file = -1;
  bool parallel = false;
  bool writes = false;
  MPI_Comm comm = MPI_COMM_NULL;  // of a parallel file
  std::string failure;            // the first write that failed in a parallel file

  ~Impl() {
    // Closing a parallel file is collective. While an exception passes, other ranks may never come:
    // the process ends, the file is lost anyway.
    if (file >= 0 && !(parallel && writes && std::uncaught_exceptions() > 0)) H5Fclose(file);
  }
  Handle access(const void* mpi_comm) const {
    Handle list(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_fclose_degree(list, H5F_CLOSE_STRONG);
    // From 1.8 on metadata carry checksums: a damaged file is an error instead of a crash inside
    // the library.
    H5Pset_libver_bounds(list, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
    if (mpi_comm)
      HDF5_CHECK(H5Pset_fapl_mpio(list, *static_cast<const MPI_Comm*>(mpi_comm), MPI_INFO_NULL),
                 path, "parallel access");
    return list;
  }
  Handle object(const std::string& name) const {
    Handle handle(H5Oopen(file, name.c_str(), H5P_DEFAULT), H5Oclose);
    CHECK_USER(handle.ok(), "{}: has no {}", path.string(), name);
    return handle;
  }
  Handle dataset(const std::string& name) const {
    Handle handle(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose);
    CHECK_USER(handle.ok(), "{}: has no dataset {}, or it is damaged", path.string(), name);
    return handle;
  }
  Dims dims(const Handle& data, const std::string& name) const {
    const Handle space(H5Dget_space(data), H5Sclose);
    const int rank = H5Sget_simple_extent_ndims(space);
    CHECK_USER(rank >= 0 && rank <= kMaxRank, "{}: dataset {} has {} dims; allowed: 0 to {}",
               path.string(), name, rank, kMaxRank);
    hsize_t sizes[kMaxRank] = {};
    H5Sget_simple_extent_dims(space, sizes, nullptr);
    double elems = 1;
    for (const hsize_t size : sizes) elems *= std::max<double>(static_cast<double>(size), 1);
    CHECK_USER(elems < 0x1p60, "{}: dataset {} claims {} elements; the file is damaged",
               path.string(), name, elems);
    std::vector<std::int64_t> out(sizes, sizes + rank);
    return Dims(out);
  }
};

Hdf5File::Hdf5File(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Hdf5File::Hdf5File(Hdf5File&&) noexcept = default;
Hdf5File& Hdf5File::operator=(Hdf5File&&) noexcept = default;
Hdf5File::~Hdf5File() = default;

Hdf5File Hdf5File::create(const std::filesystem::path& file, const void* mpi_comm) {
  quiet();
  auto impl = std::make_unique<Impl>();
  impl->path = file;
  impl->parallel = mpi_comm != nullptr;
  if (mpi_comm) impl->comm = *static_cast<const MPI_Comm*>(mpi_comm);
  impl->writes = true;
  const Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);  // the same content gives the same file
  impl->file = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, creation, impl->access(mpi_comm));
  CHECK_USER(impl->file >= 0, "{}: cannot be created ({})", file.string(), last_error());
  return Hdf5File(std::move(impl));
}

Hdf5File Hdf5File::open(const std::filesystem::path& file, const void* mpi_comm) {
  quiet();
  std::error_code error;
  CHECK_USER(std::filesystem::exists(file, error), "{}: no such file", file.string());
  CHECK_USER(!std::filesystem::is_directory(file, error), "{}: is a folder, not an HDF5 file",
             file.string());
  auto impl = std::make_unique<Impl>();
  impl->path = file;
  impl->parallel = mpi_comm != nullptr;
  if (mpi_comm) impl->comm = *static_cast<const MPI_Comm*>(mpi_comm);
  impl->file = H5Fopen(file.c_str(), H5F_ACC_RDONLY, impl->access(mpi_comm));
  CHECK_USER(impl->file >= 0, "{}: is not an HDF5 file, or it is truncated or damaged ({})",
             file.string(), last_error());
  return Hdf5File(std::move(impl));
}

Hdf5File Hdf5File::open_for_update(const std::filesystem::path& file, const void* mpi_comm) {
  quiet();
  auto impl = std::make_unique<Impl>();
  impl->path = file;
  impl->parallel = mpi_comm != nullptr;
  if (mpi_comm) impl->comm = *static_cast<const MPI_Comm*>(mpi_comm);
  impl->writes = true;
  impl->file = H5Fopen(file.c_str(), H5F_ACC_RDWR, impl->access(mpi_comm));
  CHECK_USER(impl->file >= 0, "{}: cannot be opened for writing ({})", file.string(), last_error());
  return Hdf5File(std::move(impl));
}

void Hdf5File::close() {
  if (impl_->file < 0) return;
  const hid_t file = impl_->file;
  // Flushing and closing are collective: each is done by all ranks or by none, whatever came
  // before.
  if (impl_->writes && H5Fflush(file, H5F_SCOPE_LOCAL) < 0 && impl_->failure.empty())
    impl_->failure = last_error();
  impl_->file = -1;
  int failed = !impl_->failure.empty();
  if (impl_->comm != MPI_COMM_NULL)
    MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, impl_->comm);
  // A file that HDF5 could not write stays open: a close that fails leaves a dangling handle, and
  // the library crashes when it ends.
  if (!failed && H5Fclose(file) < 0) impl_->failure = last_error();
  CHECK(impl_->failure.empty(), "{}: writing failed ({})", impl_->path.string(), impl_->failure);
}

const std::filesystem::path& Hdf5File::path() const { return impl_->path; }

namespace {

void make_dataset(hid_t file, const std::filesystem::path& path, const std::string& name,
                  DType dtype, const Dims& shape, hid_t creation) {
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links, 1);
  std::vector<hsize_t> sizes(shape.begin(), shape.end());
  const Handle space(
      sizes.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(shape.rank(), sizes.data(), nullptr),
      H5Sclose);
  const Handle data(
      H5Dcreate2(file, name.c_str(), memory_type(dtype), space, links, creation, H5P_DEFAULT),
      H5Dclose);
  CHECK(data.ok(), "{}: dataset {} cannot be created ({})", path.string(), name, last_error());
}

}  // namespace

void Hdf5File::create_dataset(const std::string& name, DType dtype, const Dims& shape) {
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);
  H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
  H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
  make_dataset(impl_->file, impl_->path, name, dtype, shape, creation);
}

void Hdf5File::create_zeros(const std::string& name, DType dtype, const Dims& shape) {
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  make_dataset(impl_->file, impl_->path, name, dtype, shape,
               creation);  // HDF5 fills with zeros, and allocates at the first write
}

bool Hdf5File::exists(const std::string& name) const {
  // H5Lexists wants every parent to exist.
  for (std::size_t at = name.find('/', 1);; at = name.find('/', at + 1)) {
    const std::string part = name.substr(0, at);
    if (H5Lexists(impl_->file, part.c_str(), H5P_DEFAULT) <= 0) return false;
    if (at == std::string::npos) return true;
  }
}

std::vector<std::string> Hdf5File::list(const std::string& group) const {
  const Handle handle(H5Gopen2(impl_->file, group.c_str(), H5P_DEFAULT), H5Gclose);
  CHECK_USER(handle.ok(), "{}: has no group {}", impl_->path.string(), group);
  std::vector<std::string> names;
  hsize_t at = 0;
  H5Literate(
      handle, H5_INDEX_NAME, H5_ITER_INC, &at,
      [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
        static_cast<std::vector<std::string>*>(out)->emplace_back(name);
        return 0;
      },
      &names);
  std::sort(names.begin(), names.end());
  return names;
}

DType Hdf5File::dtype(const std::string& name) const {
  const Handle data = impl_->dataset(name);
  const Handle type(H5Dget_type(data), H5Tclose);
  for (DType dtype :
       {DType::f32, DType::f64, DType::u16, DType::i32, DType::i64, DType::i8, DType::u8})
    if (H5Tequal(type, memory_type(dtype)) > 0) return dtype;
  user_error("{}: dataset {} holds elements of a kind that Weft does not read",
             impl_->path.string(), name);
}

Dims Hdf5File::shape(const std::string& name) const {
  return impl_->dims(impl_->dataset(name), name);
}

namespace {

// Adds the flat elements [begin, begin + size) of a dataset to a selection, as at most three boxes
// a dim.
void select_flat(hid_t space, const Dims& shape, std::int64_t begin, std::int64_t size,
                 H5S_seloper_t& op) {
  const int rank = shape.rank();
  if (size == 0) return;
  if (rank == 0) return;
  // inner[d]: elements of one index of dim d
  std::vector<std::int64_t> inner(static_cast<std::size_t>(rank), 1);
  for (int d = rank - 2; d >= 0; --d)
    inner[static_cast<std::size_t>(d)] = inner[static_cast<std::size_t>(d) + 1] * shape[d + 1];
  while (size > 0) {
    // The largest box that starts here: whole indices of the outermost dim whose start is aligned.
    int d = 0;
    while (d < rank - 1 && (begin % inner[static_cast<std::size_t>(d)] != 0 ||
                            size < inner[static_cast<std::size_t>(d)]))
      ++d;
    const std::int64_t unit = inner[static_cast<std::size_t>(d)];
    hsize_t start[kMaxRank], count[kMaxRank];
    std::int64_t rest = begin;
    for (int k = 0; k < rank; ++k) {
      start[k] = static_cast<hsize_t>(rest / inner[static_cast<std::size_t>(k)]);
      rest %= inner[static_cast<std::size_t>(k)];
      count[k] = k > d ? static_cast<hsize_t>(shape[k]) : 1;
    }
    const std::int64_t units =
        std::min(size / unit, shape[d] - static_cast<std::int64_t>(start[d]));
    count[d] = static_cast<hsize_t>(units);
    H5Sselect_hyperslab(space, op, start, nullptr, count, nullptr);
    op = H5S_SELECT_OR;
    begin += units * unit;
    size -= units * unit;
  }
}

// Whether the runs are the same columns of consecutive rows of a matrix.
bool is_column_box(const Dims& shape, std::span<const FileRun> runs) {
  if (shape.rank() != 2 || runs.size() < 2 || runs[0].size == 0 ||
      runs[0].file_begin % shape[1] + runs[0].size > shape[1])
    return false;
  for (std::size_t i = 1; i < runs.size(); ++i)
    if (runs[i].size != runs[0].size || runs[i].file_begin != runs[i - 1].file_begin + shape[1])
      return false;
  return true;
}

struct Selection {
  Handle file, memory;
};

Selection select(const Dims& shape, hid_t data, ConstView buffer, std::span<const FileRun> runs,
                 const std::string& path, const std::string& name) {
  const std::int64_t elems = shape.elems(), have = buffer.empty() ? 0 : buffer.elems();
  Selection s = {Handle(H5Dget_space(data), H5Sclose), Handle(-1, H5Sclose)};
  const auto extent = static_cast<hsize_t>(std::max<std::int64_t>(have, 1));
  Handle memory(H5Screate_simple(1, &extent, nullptr), H5Sclose);
  H5S_seloper_t file_op = H5S_SELECT_SET, memory_op = H5S_SELECT_SET;
  std::int64_t file_end = 0, local_end = 0;
  FileRun local = {0, 0, 0};  // pieces that touch in memory, joined
  const auto select_local = [&] {
    if (local.size == 0) return;
    const auto start = static_cast<hsize_t>(local.local_begin),
               count = static_cast<hsize_t>(local.size);
    H5Sselect_hyperslab(memory, memory_op, &start, nullptr, &count, nullptr);
    memory_op = H5S_SELECT_OR;
  };
  const bool box = is_column_box(shape, runs);
  if (box) {  // one box instead of a piece a row: HDF5 joins pieces in quadratic time
    const hsize_t start[2] = {static_cast<hsize_t>(runs[0].file_begin / shape[1]),
                              static_cast<hsize_t>(runs[0].file_begin % shape[1])};
    const hsize_t count[2] = {static_cast<hsize_t>(runs.size()),
                              static_cast<hsize_t>(runs[0].size)};
    H5Sselect_hyperslab(s.file, H5S_SELECT_SET, start, nullptr, count, nullptr);
  }
  for (const FileRun& run : runs) {
    CHECK(run.file_begin >= file_end && run.local_begin >= local_end && run.size >= 0 &&
              run.file_begin + run.size <= elems && run.local_begin + run.size <= have,
          "{}: {}: run {}+{} of {} elements", path, name, run.file_begin, run.size, elems);
    file_end = run.file_begin + run.size;
    local_end = run.local_begin + run.size;
    if (run.size == 0) continue;
    if (!box) select_flat(s.file, shape, run.file_begin, run.size, file_op);
    if (local.local_begin + local.size == run.local_begin) {
      local.size += run.size;
    } else {
      select_local();
      local = run;
    }
  }
  select_local();
  if (memory_op == H5S_SELECT_SET) {
    H5Sselect_none(s.file);
    H5Sselect_none(memory);
  }
  return {std::move(s.file), std::move(memory)};
}

}  // namespace

namespace {

// HDF5 converts between kinds of numbers on its own; here that can only be a mistake. bf16 and f16
// are stored as u16, bit for bit.
void check_kind(hid_t data, DType dtype, const std::string& path, const std::string& name) {
  const Handle stored(H5Dget_type(data), H5Tclose);
  const bool half = dtype == DType::bf16 || dtype == DType::f16;
  const bool alike = half ? H5Tequal(stored, memory_type(dtype)) > 0
                          : H5Tget_class(stored) == H5Tget_class(memory_type(dtype));
  CHECK_USER(alike, "{}: dataset {} does not hold {}", path, name, dtype_name(dtype));
}

}  // namespace

void Hdf5File::write(const std::string& name, ConstView x, std::span<const FileRun> runs) {
  const Handle data = impl_->dataset(name);
  check_kind(data, x.dtype(), impl_->path.string(), name);
  const Selection s = select(impl_->dims(data, name), data, x, runs, impl_->path.string(), name);
  const herr_t status =
      H5Dwrite(data, memory_type(x.dtype()), s.memory, s.file, H5P_DEFAULT, x.data());
  if (status < 0 &&
      impl_->parallel) {  // the other ranks go on to the next collective call, and so must this one
    if (impl_->failure.empty()) impl_->failure = fmt::format("{}: {}", name, last_error());
    return;
  }
  HDF5_CHECK(status, impl_->path, "writing " + name);
}

void Hdf5File::read(const std::string& name, View x, std::span<const FileRun> runs) const {
  const Handle data = impl_->dataset(name);
  check_kind(data, x.dtype(), impl_->path.string(), name);
  const Selection s = select(impl_->dims(data, name), data, x, runs, impl_->path.string(), name);
  const herr_t status =
      H5Dread(data, memory_type(x.dtype()), s.memory, s.file, H5P_DEFAULT, x.data());
  CHECK_USER(status >= 0, "{}: dataset {} cannot be read; the file is truncated or damaged ({})",
             impl_->path.string(), name, last_error());
}

void Hdf5File::read_all(const std::string& name, View x) const {
  const FileRun all = {0, 0, x.elems()};
  CHECK_USER(shape(name).elems() == x.elems(), "{}: dataset {} is {}, expected {}",
             impl_->path.string(), name, shape(name).str(), x.shape().str());
  read(name, x, {&all, 1});
}

namespace {

void write_attribute(const Handle& object, const std::string& key, hid_t type, const void* value,
                     const std::filesystem::path& path) {
  if (H5Aexists(object, key.c_str()) > 0) H5Adelete(object, key.c_str());
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(object, key.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT),
                         H5Aclose);
  CHECK(attribute.ok(), "{}: attribute {} cannot be made ({})", path.string(), key, last_error());
  HDF5_CHECK(H5Awrite(attribute, type, value), path, "writing attribute " + key);
}

Handle open_attribute(const Handle& object, const std::string& key,
                      const std::filesystem::path& path) {
  Handle attribute(
      H5Aexists(object, key.c_str()) > 0 ? H5Aopen(object, key.c_str(), H5P_DEFAULT) : -1,
      H5Aclose);
  CHECK_USER(attribute.ok(), "{}: attribute {} is missing", path.string(), key);
  const Handle space(H5Aget_space(attribute), H5Sclose);
  CHECK_USER(H5Sget_simple_extent_npoints(space) == 1, "{}: attribute {} is not one value",
             path.string(), key);
  return attribute;
}

template <class T>
T number(const Handle& object, const std::string& key, hid_t type,
         const std::filesystem::path& path) {
  const Handle attribute = open_attribute(object, key, path);
  const Handle stored(H5Aget_type(attribute), H5Tclose);
  const H5T_class_t kind = H5Tget_class(stored);
  T value{};
  CHECK_USER((kind == H5T_INTEGER || kind == H5T_FLOAT) && H5Aread(attribute, type, &value) >= 0,
             "{}: attribute {} is not a number", path.string(), key);
  return value;
}

}  // namespace

void Hdf5File::write_text(const std::string& name, std::string_view text, bool writes) {
  const auto size = static_cast<std::int64_t>(text.size());
  create_dataset(name, DType::u8, {std::max<std::int64_t>(size, 1)});
  set_attribute(name, "bytes", size);
  const FileRun all = {0, 0, size};
  if (writes && size > 0) write(name, ConstView(text.data(), DType::u8, {size}), {&all, 1});
}

std::string Hdf5File::read_text(const std::string& name) const {
  const std::int64_t size = integer_attribute(name, "bytes");
  CHECK_USER(size >= 0 && dtype(name) == DType::u8 &&
                 shape(name) == (Dims{std::max<std::int64_t>(size, 1)}),
             "{}: dataset {} is not text", path().string(), name);
  std::string text(static_cast<std::size_t>(size), '\0');
  const FileRun all = {0, 0, size};
  if (size > 0) read(name, View(static_cast<void*>(text.data()), DType::u8, {size}), {&all, 1});
  return text;
}

void Hdf5File::set_attribute(const std::string& object, const std::string& key,
                             const std::string& value) {
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, std::max<std::size_t>(value.size(), 1));
  H5Tset_strpad(type, H5T_STR_NULLPAD);
  H5Tset_cset(type, H5T_CSET_UTF8);
  write_attribute(impl_->object(object), key, type, value.empty() ? "" : value.data(), impl_->path);
}
void Hdf5File::set_attribute(const std::string& object, const std::string& key,
                             std::int64_t value) {
  write_attribute(impl_->object(object), key, H5T_NATIVE_INT64, &value, impl_->path);
}
void Hdf5File::set_attribute(const std::string& object, const std::string& key, double value) {
  write_attribute(impl_->object(object), key, H5T_NATIVE_DOUBLE, &value, impl_->path);
}

bool Hdf5File::has_attribute(const std::string& object, const std::string& key) const {
  return H5Aexists(impl_->object(object), key.c_str()) > 0;
}

std::string Hdf5File::string_attribute(const std::string& object, const std::string& key) const {
  const Handle attribute = open_attribute(impl_->object(object), key, impl_->path);
  const Handle type(H5Aget_type(attribute), H5Tclose);
  CHECK_USER(H5Tget_class(type) == H5T_STRING, "{}: attribute {} is not text", impl_->path.string(),
             key);
  if (H5Tis_variable_str(type) > 0) {
    char* text = nullptr;
    CHECK_USER(H5Aread(attribute, type, &text) >= 0 && text, "{}: attribute {} cannot be read",
               impl_->path.string(), key);
    std::string value = text;
    H5free_memory(text);
    return value;
  }
  std::string value(H5Tget_size(type), '\0');
  CHECK_USER(H5Aread(attribute, type, value.data()) >= 0, "{}: attribute {} cannot be read",
             impl_->path.string(), key);
  value.resize(value.find_last_not_of('\0') + 1);
  return value;
}

std::int64_t Hdf5File::integer_attribute(const std::string& object, const std::string& key) const {
  return number<std::int64_t>(impl_->object(object), key, H5T_NATIVE_INT64, impl_->path);
}
double Hdf5File::number_attribute(const std::string& object, const std::string& key) const {
  return number<double>(impl_->object(object), key, H5T_NATIVE_DOUBLE, impl_->path);
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace weft
