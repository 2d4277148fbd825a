// Datasets of an open file: making, naming, writing and reading them.
#include <hdf5.h>

#include <algorithm>

#include "core/check.h"
#include "core/damaged.h"
#include "io/hdf5/hdf5.h"
#include "io/hdf5/impl.h"
#include "io/hdf5/selection.h"

namespace weft {
namespace {

Hdf5Id hdf5_type(DType dtype) {
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

}  // namespace

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
      H5Dcreate2(file, name.c_str(), hdf5_type(dtype), space, links, creation, H5P_DEFAULT),
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
    if (H5Tequal(type, hdf5_type(dtype)) > 0) return dtype;
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
  const bool alike = half ? H5Tequal(stored, hdf5_type(dtype)) > 0
                          : H5Tget_class(stored) == H5Tget_class(hdf5_type(dtype));
  CHECK_USER(alike, "{}: dataset {} does not hold {}", path, name, dtype_name(dtype));
}

}  // namespace

void Hdf5File::write(const std::string& name, ConstView x, std::span<const FileRun> runs) {
  const Hdf5Handle data = impl_->dataset(name);
  check_kind(data, x.dtype(), impl_->path.string(), name);
  const Hdf5Selection s =
      select(impl_->dims(data, name), data, x, runs, impl_->path.string(), name);
  const herr_t status =
      H5Dwrite(data, hdf5_type(x.dtype()), s.memory, s.file, H5P_DEFAULT, x.data());
  CHECK_MACHINE(status >= 0, "{}: writing {} failed ({})", impl_->path.string(), name,
                hdf5_reason().text);
}

void Hdf5File::read(const std::string& name, View x, std::span<const FileRun> runs) const {
  const Hdf5Handle data = impl_->dataset(name);
  check_kind(data, x.dtype(), impl_->path.string(), name);
  const Hdf5Selection s =
      select(impl_->dims(data, name), data, x, runs, impl_->path.string(), name);
  reading(
      impl_->path, fmt::format("dataset {} cannot be read; the file is truncated or damaged", name),
      [&] { return H5Dread(data, hdf5_type(x.dtype()), s.memory, s.file, H5P_DEFAULT, x.data()); });
}

void Hdf5File::read_all(const std::string& name, View x) const {
  const FileRun all = {0, 0, x.elems()};
  CHECK_USER(shape(name).elems() == x.elems(), "{}: dataset {} is {}, expected {}",
             impl_->path.string(), name, shape(name).str(), x.shape().str());
  read(name, x, {&all, 1});
}

}  // namespace weft
