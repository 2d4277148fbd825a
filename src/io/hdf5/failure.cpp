// Whose fault it is that HDF5 cannot read a file: the file's, or what stands between it and us.
#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <type_traits>
#include <vector>

#include "core/check.h"
#include "core/damaged.h"
#include "io/hdf5/handle.h"

namespace weft {

static_assert(std::is_same_v<hid_t, Hdf5Id> || sizeof(hid_t) == sizeof(Hdf5Id));

Hdf5Reason hdf5_reason() {
  Hdf5Reason reason;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned n, const H5E_error2_t* e, void* out) -> herr_t {
        auto& to = *static_cast<Hdf5Reason*>(out);
        if (n == 0 && e->desc) to.text = e->desc;
#ifdef H5E_CANTLOCKFILE  // since 1.10.7
        if (e->min_num == H5E_CANTLOCKFILE) to.locked = true;
#endif
        if (e->maj_num == H5E_RESOURCE && e->min_num == H5E_NOSPACE) to.memory = true;
        return 0;
      },
      &reason);
  // "unable to open file: name = '…', errno = 13, error message = 'Permission denied', flags = 0"
  static constexpr std::string_view kSystem = "error message = '";
  if (const std::size_t at = reason.text.find(kSystem); at != std::string::npos) {
    const std::string rest = reason.text.substr(at + kSystem.size());
    const std::string said = reason.text.substr(0, reason.text.find_first_of(":,"));
    reason.text = fmt::format("{}: {}", said, rest.substr(0, rest.find('\'')));
  }
  reason.text = reason.text.substr(0, 200);
  return reason;
}

void read_plainly(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  CHECK_MACHINE(fd >= 0, "{}: cannot be opened ({})", file.string(), std::strerror(errno));
  std::vector<char> block(1 << 20);
  off_t at = 0;
  ssize_t n = 0;
  do {
    n = ::pread(fd, block.data(), block.size(), at);
    if (n > 0) at += n;
  } while (n > 0 || (n < 0 && errno == EINTR));
  const int reason = errno;
  ::close(fd);
  CHECK_MACHINE(n == 0, "{}: reading failed after {} bytes ({})", file.string(), at,
                std::strerror(reason));
}

Hdf5Id reading(const std::filesystem::path& file, const std::string& what,
               const std::function<Hdf5Id()>& call) {
  for (int attempt = 0;; ++attempt) {
    const Hdf5Id result = call();
    if (result >= 0) return result;
    const Hdf5Reason reason = hdf5_reason();
    CHECK_MACHINE(!reason.locked,
                  "{}: cannot be locked for reading; does another process have it open? ({})",
                  file.string(), reason.text);
    read_plainly(file);
    if (attempt == 0) continue;  // a fault that has passed is none of the file's
    CHECK_MACHINE(!reason.memory, "{}: there is no memory to read it ({})", file.string(),
                  reason.text);
    throw Damaged(fmt::format("{}: {} ({})", file.string(), what, reason.text));
  }
}

}  // namespace weft
