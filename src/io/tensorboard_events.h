// Scalars as TensorBoard reads them: a file of events, each a protocol buffer (tensorflow's
// event.proto and summary.proto) in a TFRecord's frame of lengths and checksums. Written by hand:
// the few fields of two messages are no reason to need a library.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace weft {

using Scalars = std::vector<std::pair<std::string, double>>;  // by tag, "shares/comm"

// One record: length, its checksum, the event, its checksum.
std::string tensorboard_record(const std::string& event);
// The events of a file, as bytes. Times are seconds since 1970.
std::string version_event(double time_s);  // must be the first of a file
// A run begins (again) with this step: what is at it or behind it in earlier files no longer
// counts.
std::string session_start_event(double time_s, std::int64_t step);
// Values are held in fp32, as TensorBoard's own writers do.
std::string scalars_event(double time_s, std::int64_t step, const Scalars& scalars);

class TensorboardEvents {
 public:
  // A new file in `folder`, which readers take behind those that are there. Error or UserError
  // where it cannot be written.
  TensorboardEvents(const std::filesystem::path& folder, std::int64_t first_step);
  ~TensorboardEvents();
  TensorboardEvents(const TensorboardEvents&) = delete;
  TensorboardEvents& operator=(const TensorboardEvents&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // Scalars that cannot be written (a full disk) are warned of once and lost.
  void write(std::int64_t step, const Scalars& scalars);

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::int64_t size_ = 0;  // of the file's whole records
  bool failed_ = false;
};

}  // namespace weft
