// Where memory lives and where work is enqueued. The CPU runs in order on the calling thread with
// an OpenMP team.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <typeindex>
#include <unordered_map>

namespace weft {

enum class DeviceType : std::uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

// While one lives, the calling thread's current GPU is the device's: CUDA keeps one a thread, to
// which whatever makes, allocates or launches belongs. Of the CPU: nothing.
class DeviceGuard {
 public:
  explicit DeviceGuard(Device device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int before_ = -1;  // where it was another
};

// An in-order queue of work on one device, with what its kernels keep between calls (primitive
// caches, scratch). On the CPU every call has finished when it returns; on a GPU it has been
// enqueued; an Event orders two streams.
class Stream {
 public:
  explicit Stream(Device device = {}, int n_threads = 1);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  Device device() const { return device_; }
  int n_threads() const {
    return n_threads_;
  }  // size of the OpenMP team that kernels on this stream use
  void* native() const { return native_.get(); }  // the cudaStream_t; null on the CPU
  void synchronize();  // returns when all that was enqueued has run; throws what failed meanwhile

  // The one T of this stream, made on first use; T is a kernel's private cache.
  template <class T>
  T& attached() {
    std::shared_ptr<void>& slot = attached_[std::type_index(typeid(T))];
    if (!slot) slot = std::make_shared<T>();
    return *static_cast<T*>(slot.get());
  }

  // Scratch in the device's memory, of at least `bytes`, 64-byte aligned, valid until the next
  // scratch() on this stream. Grows, never shrinks.
  void* scratch(std::size_t bytes);
  std::size_t scratch_bytes() const { return scratch_bytes_; }

 private:
  Device device_;
  int n_threads_;
  std::shared_ptr<void> native_;
  std::unordered_map<std::type_index, std::shared_ptr<void>> attached_;
  std::shared_ptr<void> scratch_;
  std::size_t scratch_bytes_ = 0;
};

// A place in a stream, by which another stream waits for the work before it: the order of two
// streams (compute and communication) written once for every device. On the CPU a stream's work has
// run when its call returns, so that all of it is a no-op there.
class Event {
 public:
  explicit Event(Device device = {});  // UserError where there is no such device
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  // Marks what `stream`, of this event's device, has been given so far; in place of an earlier
  // mark.
  void record(Stream& stream);
  // What `stream` is given from now on runs after what was marked; the calling thread goes on,
  // unless the stream is the CPU's. Nothing marked: nothing to wait for. The event may go before
  // the stream has come there.
  void wait(Stream& stream) const;
  bool has_passed() const;  // whether what was marked has run; any thread may ask
  void* native() const { return native_.get(); }  // the cudaEvent_t; null on the CPU

 private:
  Device device_;
  std::shared_ptr<void> native_;
};

// GPUs that this process can use: 0 in a build without CUDA.
int gpu_count();
bool gpu_is_built_in();
std::string gpu_absence();  // why there are none, a clause
// What a GPU can still give.
std::int64_t gpu_free_bytes(Device device);

// Uninitialised memory of the device, 64-byte aligned. Throws a UserError naming the size where
// there is not enough.
std::shared_ptr<void> allocate(Device device, std::size_t bytes);
// The same, all bytes 0; `name` (what is to lie there, in the plural) begins the sentence.
std::shared_ptr<void> allocate_zeroed(Device device, std::size_t bytes, const std::string& name);
// Host memory that the device copies to and from without staging it: pinned, for a GPU.
std::shared_ptr<void> allocate_host(Device device, std::size_t bytes);

// Enqueued on the stream, whose device is one of the two. `from` in host memory may be reused on
// return, unless it came from allocate_host(); `to` in host memory is complete on return.
void copy_bytes(void* to, const void* from, std::size_t bytes, Stream& stream);

}  // namespace weft
