#include "io/hdf5.h"

#include <hdf5.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>

#include "core/check.h"
#include "core/damaged.h"
#include "io/hdf5_impl.h"
#include "io/hdf5_selection.h"

namespace weft {
namespace {

Hdf5Id memory_type(DType dtype) {
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

enum class Lock : std::uint8_t { none, shared };

Hdf5Handle access_list([[maybe_unused]] Lock lock, const void* mpi_comm,
                       const std::filesystem::path& path) {
  Hdf5Handle list(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(list, H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7)
  // What is written is written under a name that nobody else knows; not every file system locks.
  if (lock == Lock::none) H5Pset_file_locking(list, false, true);
#endif
  // From 1.8 on metadata carry checksums: a damaged file is an error instead of a crash inside
  // the library.
  H5Pset_libver_bounds(list, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  if (mpi_comm)
    CHECK_MACHINE(
        H5Pset_fapl_mpio(list, *static_cast<const MPI_Comm*>(mpi_comm), MPI_INFO_NULL) >= 0,
        "{}: parallel access failed ({})", path.string(), hdf5_reason().text);
  return list;
}

// Rank 0's, on all ranks: it may have chosen a name of its own.
std::string first_ranks(const void* mpi_comm, std::string text) {
  if (!mpi_comm) return text;
  const MPI_Comm comm = *static_cast<const MPI_Comm*>(mpi_comm);
  auto size = static_cast<int>(text.size());
  MPI_Bcast(&size, 1, MPI_INT, 0, comm);
  text.resize(static_cast<std::size_t>(size));
  MPI_Bcast(text.data(), size, MPI_BYTE, 0, comm);
  return text;
}

// Whether one of the ranks says so; alone without a communicator.
bool any(const void* mpi_comm, bool mine) {
  int flag = mine;
  if (mpi_comm)
    MPI_Allreduce(MPI_IN_PLACE, &flag, 1, MPI_INT, MPI_MAX,
                  *static_cast<const MPI_Comm*>(mpi_comm));
  return flag != 0;
}

}  // namespace

Hdf5File::Impl::~Impl() {
  // Closing what ranks opened together is collective, and while an exception passes the others may
  // never come; closing what could not be written leaves HDF5 with a handle on which it crashes
  // when it ends. The file is lost anyway, and stays open.
  if (file >= 0 && !(writes && std::uncaught_exceptions() > 0)) H5Fclose(file);
}

Hdf5Handle Hdf5File::Impl::object(const std::string& name) const {
  return Hdf5Handle(reading(path, fmt::format("has no {}, or it is damaged", name),
                            [&] { return H5Oopen(file, name.c_str(), H5P_DEFAULT); }),
                    H5Oclose);
}

Hdf5Handle Hdf5File::Impl::dataset(const std::string& name) const {
  return Hdf5Handle(reading(path, fmt::format("has no dataset {}, or it is damaged", name),
                            [&] { return H5Dopen2(file, name.c_str(), H5P_DEFAULT); }),
                    H5Dclose);
}

Dims Hdf5File::Impl::dims(const Hdf5Handle& data, const std::string& name) const {
  const Hdf5Handle space(H5Dget_space(data), H5Sclose);
  const int rank = H5Sget_simple_extent_ndims(space);
  CHECK_USER(rank >= 0 && rank <= kMaxRank, "{}: dataset {} has {} dims; allowed: 0 to {}",
             path.string(), name, rank, kMaxRank);
  hsize_t sizes[kMaxRank] = {};
  H5Sget_simple_extent_dims(space, sizes, nullptr);
  double elems = 1;
  for (const hsize_t size : sizes) elems *= std::max<double>(static_cast<double>(size), 1);
  CHECK_WHOLE(elems < 0x1p60, "{}: dataset {} claims {} elements; the file is damaged",
              path.string(), name, elems);
  std::vector<std::int64_t> out(sizes, sizes + rank);
  return Dims(out);
}

Hdf5File::Hdf5File(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Hdf5File::Hdf5File(Hdf5File&&) noexcept = default;
Hdf5File& Hdf5File::operator=(Hdf5File&&) noexcept = default;
Hdf5File::~Hdf5File() = default;

Hdf5File Hdf5File::create(const std::filesystem::path& file) {
  quiet();
  auto impl = std::make_unique<Impl>();
  impl->path = file;
  impl->writes = true;
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);  // the same content gives the same file
  const Hdf5Handle access = access_list(Lock::none, nullptr, file);
  impl->file = H5Fcreate(file.c_str(), H5F_ACC_TRUNC, creation, access);
  if (impl->file < 0) {
    const std::string reason = hdf5_reason().text;
    std::error_code error;
    const auto folder = file.has_parent_path() ? file.parent_path() : ".";
    CHECK_USER(
        std::filesystem::is_directory(folder, error) && !std::filesystem::is_directory(file, error),
        "{}: cannot be created ({})", file.string(), reason);
    machine_error("{}: cannot be created ({})", file.string(), reason);
  }
  return Hdf5File(std::move(impl));
}

Hdf5File Hdf5File::open(const std::filesystem::path& file) {
  quiet();
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  CHECK_USER(status.type() != std::filesystem::file_type::not_found, "{}: no such file",
             file.string());
  CHECK_USER(status.type() != std::filesystem::file_type::directory,
             "{}: is a folder, not an HDF5 file", file.string());
  auto impl = std::make_unique<Impl>();
  impl->path = file;
  const Hdf5Handle access = access_list(Lock::shared, nullptr, file);
  impl->file = reading(file, "is not an HDF5 file, or it is truncated or damaged",
                       [&] { return H5Fopen(file.c_str(), H5F_ACC_RDONLY, access); });
  return Hdf5File(std::move(impl));
}

Hdf5File Hdf5File::open_for_update(const std::filesystem::path& file) {
  quiet();
  auto impl = std::make_unique<Impl>();
  impl->path = file;
  impl->writes = true;
  const Hdf5Handle access = access_list(Lock::none, nullptr, file);
  impl->file = H5Fopen(file.c_str(), H5F_ACC_RDWR, access);
  if (impl->file < 0)
    machine_error("{}: cannot be opened for writing ({})", file.string(), hdf5_reason().text);
  return Hdf5File(std::move(impl));
}

void Hdf5File::fill_together(const std::filesystem::path& rank_0s, const void* mpi_comm,
                             const std::function<void(Hdf5File&)>& body) {
  quiet();
  const std::filesystem::path file = first_ranks(mpi_comm, rank_0s.string());
  Hdf5File out(std::make_unique<Impl>());
  Impl& impl = *out.impl_;
  impl.path = file;
  impl.writes = true;
  impl.comm = mpi_comm;
  const auto opened = failure_of([&] {
    const Hdf5Handle access = access_list(Lock::none, mpi_comm, file);
    impl.file = H5Fopen(file.c_str(), H5F_ACC_RDWR, access);
    CHECK_MACHINE(impl.file >= 0, "{}: cannot be opened for writing ({})", file.string(),
                  hdf5_reason().text);
  });
  std::optional<Failure> failure = opened;
  // Nothing that fails on one rank may keep it from the collective close.
  if (!any(mpi_comm, opened.has_value())) {
    failure = failure_of([&] { body(out); });
    const auto closed = failure_of([&] { out.close(failure.has_value()); });
    if (!failure) failure = closed;
  } else {
    impl.file =
        -1;  // left open where it is: closing would wait for ranks that have nothing to close
  }
  if (failure) rethrow(*failure);
}

void Hdf5File::close() { close(false); }

void Hdf5File::close(bool failed) {
  if (impl_->file < 0) return;
  const Hdf5Id file = impl_->file;
  // Flushing and closing are collective: each is done by all ranks or by none, whatever came
  // before.
  if (impl_->writes && H5Fflush(file, H5F_SCOPE_LOCAL) < 0 && impl_->failure.empty())
    impl_->failure = hdf5_reason().text;
  impl_->file = -1;
  failed = any(impl_->comm, failed || !impl_->failure.empty());
  // A file that HDF5 could not write stays open: a close that fails leaves a dangling handle, and
  // the library crashes when it ends.
  if (!failed && H5Fclose(file) < 0) impl_->failure = hdf5_reason().text;
  CHECK_MACHINE(impl_->failure.empty(), "{}: writing failed ({})", impl_->path.string(),
                impl_->failure);
}

const std::filesystem::path& Hdf5File::path() const { return impl_->path; }

namespace {

void make_dataset(Hdf5Id file, const std::filesystem::path& path, const std::string& name,
                  DType dtype, const Dims& shape, Hdf5Id creation) {
  const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(links, 1);
  std::vector<hsize_t> sizes(shape.begin(), shape.end());
  const Hdf5Handle space(
      sizes.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(shape.rank(), sizes.data(), nullptr),
      H5Sclose);
  const Hdf5Handle data(
      H5Dcreate2(file, name.c_str(), memory_type(dtype), space, links, creation, H5P_DEFAULT),
      H5Dclose);
  CHECK_MACHINE(data.ok(), "{}: dataset {} cannot be created ({})", path.string(), name,
                hdf5_reason().text);
}

}  // namespace

void Hdf5File::create_dataset(const std::string& name, DType dtype, const Dims& shape) {
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);
  H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
  H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
  make_dataset(impl_->file, impl_->path, name, dtype, shape, creation);
}

void Hdf5File::create_zeros(const std::string& name, DType dtype, const Dims& shape) {
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  make_dataset(impl_->file, impl_->path, name, dtype, shape,
               creation);  // HDF5 fills with zeros, and allocates at the first write
}

bool Hdf5File::exists(const std::string& name) const {
  // H5Lexists wants every parent to exist.
  for (std::size_t at = name.find('/', 1);; at = name.find('/', at + 1)) {
    const std::string part = name.substr(0, at);
    if (reading(impl_->path, fmt::format("{} is damaged", part),
                [&] { return H5Lexists(impl_->file, part.c_str(), H5P_DEFAULT); }) == 0)
      return false;
    if (at == std::string::npos) return true;
  }
}

std::vector<std::string> Hdf5File::list(const std::string& group) const {
  const Hdf5Handle handle(H5Gopen2(impl_->file, group.c_str(), H5P_DEFAULT), H5Gclose);
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
  const Hdf5Handle data = impl_->dataset(name);
  const Hdf5Handle type(H5Dget_type(data), H5Tclose);
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

// HDF5 converts between kinds of numbers on its own; here that can only be a mistake. bf16 and f16
// are stored as u16, bit for bit.
void check_kind(Hdf5Id data, DType dtype, const std::string& path, const std::string& name) {
  const Hdf5Handle stored(H5Dget_type(data), H5Tclose);
  const bool half = dtype == DType::bf16 || dtype == DType::f16;
  const bool alike = half ? H5Tequal(stored, memory_type(dtype)) > 0
                          : H5Tget_class(stored) == H5Tget_class(memory_type(dtype));
  CHECK_USER(alike, "{}: dataset {} does not hold {}", path, name, dtype_name(dtype));
}

}  // namespace

void Hdf5File::write(const std::string& name, ConstView x, std::span<const FileRun> runs) {
  const Hdf5Handle data = impl_->dataset(name);
  check_kind(data, x.dtype(), impl_->path.string(), name);
  const Hdf5Selection s =
      select(impl_->dims(data, name), data, x, runs, impl_->path.string(), name);
  const herr_t status =
      H5Dwrite(data, memory_type(x.dtype()), s.memory, s.file, H5P_DEFAULT, x.data());
  CHECK_MACHINE(status >= 0, "{}: writing {} failed ({})", impl_->path.string(), name,
                hdf5_reason().text);
}

void Hdf5File::read(const std::string& name, View x, std::span<const FileRun> runs) const {
  const Hdf5Handle data = impl_->dataset(name);
  check_kind(data, x.dtype(), impl_->path.string(), name);
  const Hdf5Selection s =
      select(impl_->dims(data, name), data, x, runs, impl_->path.string(), name);
  reading(impl_->path,
          fmt::format("dataset {} cannot be read; the file is truncated or damaged", name), [&] {
            return H5Dread(data, memory_type(x.dtype()), s.memory, s.file, H5P_DEFAULT, x.data());
          });
}

void Hdf5File::read_all(const std::string& name, View x) const {
  const FileRun all = {0, 0, x.elems()};
  CHECK_USER(shape(name).elems() == x.elems(), "{}: dataset {} is {}, expected {}",
             impl_->path.string(), name, shape(name).str(), x.shape().str());
  read(name, x, {&all, 1});
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace weft
