// Attributes and texts of HDF5 files.
#include <hdf5.h>

#include <algorithm>

#include "core/check.h"
#include "io/hdf5/impl.h"

namespace weft {
namespace {

// space: scalar, where it is not given.
void write_attribute(const Hdf5Handle& object, const std::string& key, hid_t type,
                     const void* value, const std::filesystem::path& path,
                     Hdf5Handle space = Hdf5Handle(H5Screate(H5S_SCALAR), H5Sclose)) {
  if (H5Aexists(object, key.c_str()) > 0) H5Adelete(object, key.c_str());
  const Hdf5Handle attribute(H5Acreate2(object, key.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT),
                             H5Aclose);
  CHECK_MACHINE(attribute.ok(), "{}: attribute {} cannot be made ({})", path.string(), key,
                hdf5_reason().text);
  CHECK_MACHINE(H5Awrite(attribute, type, value) >= 0, "{}: writing attribute {} failed ({})",
                path.string(), key, hdf5_reason().text);
}

Hdf5Handle open_attribute(const Hdf5Handle& object, const std::string& key,
                          const std::filesystem::path& path) {
  const bool there = reading(path, fmt::format("attribute {} is damaged", key),
                             [&] { return H5Aexists(object, key.c_str()); }) > 0;
  CHECK_USER(there, "{}: attribute {} is missing", path.string(), key);
  Hdf5Handle attribute(reading(path, fmt::format("attribute {} is damaged", key),
                               [&] { return H5Aopen(object, key.c_str(), H5P_DEFAULT); }),
                       H5Aclose);
  const Hdf5Handle space(H5Aget_space(attribute), H5Sclose);
  CHECK_USER(H5Sget_simple_extent_npoints(space) == 1, "{}: attribute {} is not one value",
             path.string(), key);
  return attribute;
}

template <class T>
T number(const Hdf5Handle& object, const std::string& key, hid_t type,
         const std::filesystem::path& path) {
  const Hdf5Handle attribute = open_attribute(object, key, path);
  const Hdf5Handle stored(H5Aget_type(attribute), H5Tclose);
  const H5T_class_t kind = H5Tget_class(stored);
  T value{};
  CHECK_USER((kind == H5T_INTEGER || kind == H5T_FLOAT) && H5Aread(attribute, type, &value) >= 0,
             "{}: attribute {} is not a number", path.string(), key);
  return value;
}

}  // namespace

void Hdf5File::write_text(const std::string& name, std::string_view text) {
  const auto size = static_cast<std::int64_t>(text.size());
  create_dataset(name, DType::u8, {std::max<std::int64_t>(size, 1)});
  set_attribute(name, "bytes", size);
  const FileRun all = {0, 0, size};
  if (size > 0) write(name, ConstView(text.data(), DType::u8, {size}), {&all, 1});
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

namespace {

Hdf5Handle string_type() {
  Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

}  // namespace

void Hdf5File::create_strings(const std::string& name, std::int64_t n) {
  const Hdf5Handle type = string_type();
  const auto size = static_cast<hsize_t>(n);
  const Hdf5Handle space(H5Screate_simple(1, &size, nullptr), H5Sclose);
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);  // the same content gives the same file
  const Hdf5Handle data(
      H5Dcreate2(impl_->file, name.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT),
      H5Dclose);
  CHECK_MACHINE(data.ok(), "{}: dataset {} cannot be made ({})", impl_->path.string(), name,
                hdf5_reason().text);
}

void Hdf5File::write_strings(const std::string& name, std::int64_t begin,
                             std::span<const std::string> strings) {
  if (strings.empty()) return;
  const Hdf5Handle data = impl_->dataset(name), type = string_type();
  const Hdf5Handle space(H5Dget_space(data), H5Sclose);
  const auto first = static_cast<hsize_t>(begin), n = static_cast<hsize_t>(strings.size());
  const Hdf5Handle memory(H5Screate_simple(1, &n, nullptr), H5Sclose);
  H5Sselect_hyperslab(space, H5S_SELECT_SET, &first, nullptr, &n, nullptr);
  std::vector<const char*> begins;
  for (const std::string& s : strings) begins.push_back(s.c_str());
  CHECK_MACHINE(H5Dwrite(data, type, memory, space, H5P_DEFAULT, begins.data()) >= 0,
                "{}: writing {} failed ({})", impl_->path.string(), name, hdf5_reason().text);
}

void Hdf5File::write_strings(const std::string& name, const std::vector<std::string>& strings) {
  create_strings(name, static_cast<std::int64_t>(strings.size()));
  write_strings(name, 0, strings);
}

std::vector<std::string> Hdf5File::read_strings(const std::string& name,
                                                std::span<const std::int64_t> at) const {
  const std::string file = impl_->path.string();
  const Hdf5Handle data = impl_->dataset(name);
  const Hdf5Handle type(H5Dget_type(data), H5Tclose), space(H5Dget_space(data), H5Sclose);
  const Dims shape = impl_->dims(data, name);
  CHECK_USER(shape.rank() == 1 && H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) > 0,
             "{}: dataset {} is no list of texts of any length", file, name);
  std::vector<hsize_t> places;
  for (const std::int64_t i : at) {
    CHECK(i >= 0 && i < shape[0], "{}: {}: text {} of {}", file, name, i, shape[0]);
    places.push_back(static_cast<hsize_t>(i));
  }
  std::vector<std::string> strings;
  if (at.empty()) return strings;
  const hsize_t n = places.size();
  const Hdf5Handle memory(H5Screate_simple(1, &n, nullptr), H5Sclose);
  H5Sselect_elements(space, H5S_SELECT_SET, places.size(), places.data());
  std::vector<char*> texts(places.size(), nullptr);
  reading(impl_->path,
          fmt::format("dataset {} cannot be read; the file is truncated or damaged", name),
          [&] { return H5Dread(data, type, memory, space, H5P_DEFAULT, texts.data()); });
  for (const char* text : texts) strings.emplace_back(text ? text : "");
  H5Dvlen_reclaim(type, memory, H5P_DEFAULT, texts.data());
  return strings;
}

void Hdf5File::flush() {
  CHECK_MACHINE(H5Fflush(impl_->file, H5F_SCOPE_LOCAL) >= 0, "{}: writing failed ({})",
                impl_->path.string(), hdf5_reason().text);
}

void Hdf5File::set_attribute(const std::string& object, const std::string& key,
                             const std::string& value) {
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
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
void Hdf5File::set_attribute(const std::string& object, const std::string& key,
                             std::span<const std::int64_t> values) {
  const auto n = static_cast<hsize_t>(values.size());
  write_attribute(impl_->object(object), key, H5T_NATIVE_INT64, values.data(), impl_->path,
                  Hdf5Handle(H5Screate_simple(1, &n, nullptr), H5Sclose));
}

bool Hdf5File::has_attribute(const std::string& object, const std::string& key) const {
  return H5Aexists(impl_->object(object), key.c_str()) > 0;
}

std::string Hdf5File::string_attribute(const std::string& object, const std::string& key) const {
  const Hdf5Handle attribute = open_attribute(impl_->object(object), key, impl_->path);
  const Hdf5Handle type(H5Aget_type(attribute), H5Tclose);
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

}  // namespace weft
