#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "core/check.h"
#include "io/files.h"
#include "io/lfs_pointer.h"

namespace weft {
namespace {

// What the signal's handler may look at: it can be told nothing, so this is the process's own.
struct Slot {
  std::atomic<std::uintptr_t> begin{0}, end{0};  // end 0: free, or being filled
  std::atomic<bool> lost{false};
  std::string file;
};
constexpr std::size_t kMaxMappings = 4096;
std::array<Slot, kMaxMappings> slots;
std::atomic<bool> any_lost{false};
std::mutex slots_mutex;  // of those who take and free slots, not of the handler
std::atomic<std::uintptr_t> page_bytes{4096};
struct sigaction previous {};

Slot* slot_of(std::uintptr_t at) {
  for (Slot& slot : slots)
    if (at < slot.end.load(std::memory_order_acquire) && at >= slot.begin.load()) return &slot;
  return nullptr;
}

// From the page that failed to the mapping's end there are zeros then, and the read goes on.
// mmap is a bare system call: nothing here takes a lock.
void on_bus_error(int number, siginfo_t* info, void* context) {
  const int saved = errno;
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  if (Slot* slot = slot_of(at)) {
    const std::uintptr_t page = at / page_bytes * page_bytes;
    const void* zeros = ::mmap(reinterpret_cast<void*>(page), slot->end.load() - page, PROT_READ,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    slot->lost = any_lost = true;
    errno = saved;
    if (zeros != MAP_FAILED) return;
  }
  if ((previous.sa_flags & SA_SIGINFO) != 0 && previous.sa_sigaction)
    return previous.sa_sigaction(number, info, context);
  if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
    return previous.sa_handler(number);
  std::signal(number, SIG_DFL);  // the read is tried again, and ends the process
}

// Again with each mapping: an MPI library that starts meanwhile may have put its own handler there.
void watch_bus_errors() {
  struct sigaction ours {
  }, before{};
  ours.sa_sigaction = on_bus_error;
  ours.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigemptyset(&ours.sa_mask);
  page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  CHECK(::sigaction(SIGBUS, &ours, &before) == 0, "SIGBUS cannot be handled ({})",
        std::strerror(errno));
  const bool is_ours = (before.sa_flags & SA_SIGINFO) != 0 && before.sa_sigaction == on_bus_error;
  if (!is_ours) previous = before;
}

std::size_t take_slot(const std::string& file, const std::byte* data, std::size_t bytes) {
  const std::lock_guard lock(slots_mutex);
  watch_bus_errors();
  for (std::size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = slots[i];
    if (slot.end != 0) continue;
    slot.file = file;
    slot.lost = false;
    slot.begin = reinterpret_cast<std::uintptr_t>(data);
    slot.end.store(slot.begin + bytes, std::memory_order_release);
    return i;
  }
  CHECK(false, "{}: more than {} files are mapped", file, kMaxMappings);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& file, std::size_t least_bytes,
                       const char* kind) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) file_failure(file, "cannot be opened", errno);
  struct stat info {};
  const bool is_file = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  bytes_ = is_file ? static_cast<std::size_t>(info.st_size) : 0;
  void* memory = bytes_ ? ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  const int why = errno;
  std::array<char, 64> head;
  const ssize_t n = is_file ? ::pread(fd, head.data(), head.size(), 0) : 0;
  ::close(fd);
  try {  // no destructor runs after a throw in here
    CHECK_USER(is_file, "{}: is not a file", file.string());
    if (n > 0) refuse_lfs_pointer(file.string(), {head.data(), static_cast<std::size_t>(n)});
    CHECK_USER(bytes_ >= least_bytes, "{}: has {} bytes, too few for a {} file", file.string(),
               bytes_, kind);
    CHECK_MACHINE(memory != MAP_FAILED, "{}: cannot be mapped ({})", file.string(),
                  std::strerror(why));
    data_ = static_cast<const std::byte*>(memory);
    slot_ = take_slot(file.string(), data_, bytes_);
  } catch (...) {
    if (memory != MAP_FAILED) ::munmap(memory, bytes_);
    throw;
  }
}

MappedFile::~MappedFile() {
  {
    const std::lock_guard lock(slots_mutex);
    slots[slot_].end = 0;
  }
  ::munmap(const_cast<std::byte*>(data_), bytes_);
}

void check_mapping(const void* address) {
  if (!any_lost.load(std::memory_order_relaxed)) return;
  const Slot* slot = slot_of(reinterpret_cast<std::uintptr_t>(address));
  CHECK_MACHINE(!slot || !slot->lost,
                "{}: can no longer be read to the end it had when it was opened; was it cut short "
                "or replaced, or is its disk gone?",
                slot->file);
}

}  // namespace weft
