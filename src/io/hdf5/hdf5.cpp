#include "io/hdf5/hdf5.h"

#include <hdf5.h>
#include <exception>

#include "core/check.h"
#include "io/hdf5/impl.h"

namespace weft {

Hdf5Handle hdf5_access([[maybe_unused]] Hdf5Lock lock) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // its errors are ours to say
  Hdf5Handle list(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fclose_degree(list, H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 10, 7)
  // What is written is written under a name that nobody else knows; not every file system locks.
  if (lock == Hdf5Lock::none) H5Pset_file_locking(list, false, true);
#endif
  // From 1.8 on metadata carry checksums: a damaged file is an error instead of a crash inside
  // the library.
  H5Pset_libver_bounds(list, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  return list;
}

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

Hdf5File::Hdf5File(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Hdf5File::Hdf5File(Hdf5File&&) noexcept = default;
Hdf5File& Hdf5File::operator=(Hdf5File&&) noexcept = default;
Hdf5File::~Hdf5File() = default;

Hdf5File Hdf5File::create(const std::filesystem::path& file) {
  auto impl = std::make_unique<Impl>();
  impl->path = file;
  impl->writes = true;
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation, false);  // the same content gives the same file
  const Hdf5Handle access = hdf5_access(Hdf5Lock::none);
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
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  CHECK_USER(status.type() != std::filesystem::file_type::not_found, "{}: no such file",
             file.string());
  CHECK_USER(status.type() != std::filesystem::file_type::directory,
             "{}: is a folder, not an HDF5 file", file.string());
  auto impl = std::make_unique<Impl>();
  impl->path = file;
  const Hdf5Handle access = hdf5_access(Hdf5Lock::shared);
  impl->file = reading(file, "is not an HDF5 file, or it is truncated or damaged",
                       [&] { return H5Fopen(file.c_str(), H5F_ACC_RDONLY, access); });
  return Hdf5File(std::move(impl));
}

Hdf5File Hdf5File::open_for_update(const std::filesystem::path& file) {
  auto impl = std::make_unique<Impl>();
  impl->path = file;
  impl->writes = true;
  const Hdf5Handle access = hdf5_access(Hdf5Lock::none);
  impl->file = H5Fopen(file.c_str(), H5F_ACC_RDWR, access);
  if (impl->file < 0)
    machine_error("{}: cannot be opened for writing ({})", file.string(), hdf5_reason().text);
  return Hdf5File(std::move(impl));
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
  failed = impl_->any(failed || !impl_->failure.empty());
  // A file that HDF5 could not write stays open: a close that fails leaves a dangling handle, and
  // the library crashes when it ends.
  if (!failed && H5Fclose(file) < 0) impl_->failure = hdf5_reason().text;
  CHECK_MACHINE(impl_->failure.empty(), "{}: writing failed ({})", impl_->path.string(),
                impl_->failure);
}

const std::filesystem::path& Hdf5File::path() const { return impl_->path; }

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace weft
