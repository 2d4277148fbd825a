#include "io/tensorboard_events.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>

#include "core/check.h"
#include "core/log.h"
#include "core/system/hardware.h"
#include "io/files.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";

// CRC-32C (Castagnoli), reflected; a byte at a time.
std::uint32_t crc32c(std::string_view bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> t{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      t[i] = i;
      for (int bit = 0; bit < 8; ++bit) t[i] = t[i] >> 1 ^ (t[i] & 1 ? 0x82F63B78u : 0);
    }
    return t;
  }();
  std::uint32_t crc = ~0u;
  for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<std::uint8_t>(c)) & 0xFF];
  return ~crc;
}

// A TFRecord's checksum is turned, so that a record within a record is not taken for one.
std::uint32_t masked_crc(std::string_view bytes) {
  return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u;
}

template <class T>
std::string little_endian(T value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof value; ++i)
    bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}

// ---- fields of a protocol buffer: key (number and wire type), then the value

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string key(int number, int wire_type) {
  return varint(static_cast<std::uint64_t>(number << 3 | wire_type));
}
std::string integer_field(int number, std::int64_t value) {
  return key(number, 0) + varint(static_cast<std::uint64_t>(value));
}
std::string double_field(int number, double value) {
  return key(number, 1) + little_endian(std::bit_cast<std::uint64_t>(value));
}
std::string bytes_field(int number, const std::string& value) {
  return key(number, 2) + varint(value.size()) + value;
}
std::string float_field(int number, float value) {
  return key(number, 5) + little_endian(std::bit_cast<std::uint32_t>(value));
}

// Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5;
//         SessionLog session_log = 7; }. Zeros are not written.
std::string event_of(double time_s, std::int64_t step) {
  return (time_s != 0 ? double_field(1, time_s) : "") + (step != 0 ? integer_field(2, step) : "");
}

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Readers take files in the order of their names: later than those that are there, also where two
// starts share a second or a clock was set back.
fs::path new_file(const fs::path& folder) {
  auto seconds = static_cast<std::int64_t>(now_s());
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    std::int64_t earlier = 0;
    std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), earlier);
    seconds = std::max(seconds, earlier + 1);
  }
  return folder / fmt::format("{}{:010}.{}.{}.weft", kPrefix, seconds, host_name(),
                              static_cast<int>(::getpid()));
}

}  // namespace

std::string tensorboard_record(const std::string& event) {
  const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
  return length + little_endian(masked_crc(length)) + event + little_endian(masked_crc(event));
}

std::string version_event(double time_s) {
  return event_of(time_s, 0) + bytes_field(3, "brain.Event:2");
}

std::string session_start_event(double time_s, std::int64_t step) {
  constexpr int kStart = 1;  // SessionLog { SessionStatus status = 1; }
  return event_of(time_s, step) + bytes_field(7, integer_field(1, kStart));
}

// Summary { repeated Value value = 1; }, Value { string tag = 1; float simple_value = 2; }
std::string scalars_event(double time_s, std::int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars)
    summary += bytes_field(1, bytes_field(1, tag) + float_field(2, static_cast<float>(value)));
  return event_of(time_s, step) + bytes_field(5, summary);
}

TensorboardEvents::TensorboardEvents(const fs::path& folder, std::int64_t first_step) {
  make_folder(folder);
  path_ = new_file(folder);
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
  if (file_ < 0) file_failure(path_, "the event file cannot be written", errno);
  const double now = now_s();
  const std::string begin = tensorboard_record(version_event(now)) +
                            tensorboard_record(session_start_event(now, first_step));
  const int reason = write_all(file_, begin);
  if (reason != 0) {
    ::close(file_);
    file_failure(path_, "the event file cannot be written", reason);
  }
  size_ = static_cast<std::int64_t>(begin.size());
}

TensorboardEvents::~TensorboardEvents() { ::close(file_); }

void TensorboardEvents::write(std::int64_t step, const Scalars& scalars) {
  const std::string record = tensorboard_record(scalars_event(now_s(), step, scalars));
  const int reason = write_all(file_, record);
  if (reason == 0) {
    size_ += static_cast<std::int64_t>(record.size());
    return;
  }
  // Half a record would end what readers take of the file.
  const bool cut = ::ftruncate(file_, size_) == 0;
  if (!std::exchange(failed_, true))
    log_warning("{}: cannot be written ({}); {}", path_.string(), std::strerror(reason),
                cut ? "its charts lack steps" : "its charts end here");
}

}  // namespace weft
