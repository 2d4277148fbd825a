#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>

#include "core/check.h"
#include "kernels/cuda/launch.cuh"
#include "measure.h"

#define CUBLAS_CHECK(call)                                                                      \
  do {                                                                                          \
    const cublasStatus_t result = (call);                                                       \
    CHECK(result == CUBLAS_STATUS_SUCCESS, "{}: {} ({})", #call, cublasGetStatusString(result), \
          static_cast<int>(result));                                                            \
  } while (false)

namespace weft::gpu_bench {
namespace {

constexpr int kRepeats = 25;            // of which the median counts
constexpr double kLongEnough_s = 1e-3;  // of one repeat: several calls, where one is shorter
constexpr double kMostOfACase_s = 3;    // its repeats go down to kFewestRepeats for this
constexpr int kFewestRepeats = 20;

struct Peaks {
  double copy = 0, bf16 = 0, tf32 = 0, fp32 = 0;  // bytes/s; FLOP/s
};

struct EventPair {
  cudaEvent_t begin = nullptr, end = nullptr;
  EventPair() {
    CUDA_CHECK(cudaEventCreate(&begin));
    CUDA_CHECK(cudaEventCreate(&end));
  }
  ~EventPair() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
  }
  EventPair(const EventPair&) = delete;
  EventPair& operator=(const EventPair&) = delete;

  double seconds(Stream& stream, int calls, const std::function<void()>& body) const {
    CUDA_CHECK(cudaEventRecord(begin, cuda::native(stream)));
    for (int i = 0; i < calls; ++i) body();
    CUDA_CHECK(cudaEventRecord(end, cuda::native(stream)));
    stream.synchronize();
    float ms = 0;
    CUDA_CHECK(cudaEventElapsedTime(&ms, begin, end));
    return 1e-3 * static_cast<double>(ms) / calls;
  }
};

struct Timing {
  double seconds = 0;  // of one call
  int repeats = 0, calls = 0;
};

Timing median_time(Stream& stream, std::size_t sets, const std::function<void()>& body) {
  const EventPair events;
  for (std::size_t i = 0; i < 2 * sets; ++i)
    body();  // every set once more than the one that loads modules and grows scratch
  const double one = events.seconds(stream, static_cast<int>(std::max<std::size_t>(sets, 3)), body);
  Timing t;
  t.calls = std::clamp(static_cast<int>(kLongEnough_s / std::max(one, 1e-7)), 1, 200);
  t.repeats = one * kRepeats * t.calls > kMostOfACase_s ? kFewestRepeats : kRepeats;
  std::vector<double> times;
  for (int i = 0; i < t.repeats; ++i) times.push_back(events.seconds(stream, t.calls, body));
  std::sort(times.begin(), times.end());
  const std::size_t half = times.size() / 2;
  t.seconds = times.size() % 2 == 1 ? times[half] : (times[half - 1] + times[half]) / 2;
  return t;
}

std::string driver_version() {
  std::ifstream in("/proc/driver/nvidia/version");
  for (std::string word;
       in >> word;)  // "NVRM version: NVIDIA UNIX … Kernel Module  580.159.04  Release Build …"
    if (word.find_first_not_of("0123456789.") == std::string::npos &&
        std::count(word.begin(), word.end(), '.') >= 1)
      return word;
  int version = 0;
  CUDA_CHECK(cudaDriverGetVersion(&version));
  return "for CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

double copy_bandwidth(Stream& stream, Patterns& patterns) {
  constexpr std::int64_t kElems = std::int64_t{1} << 28;  // 1 GiB of fp32
  Memory memory(stream, &patterns);
  const View to = memory.normal(DType::f32, {kElems}), from = memory.normal(DType::f32, {kElems});
  const Timing t = median_time(stream, 1, [&] {
    CUDA_CHECK(cudaMemcpyAsync(to.data(), from.data(), from.bytes(), cudaMemcpyDeviceToDevice,
                               cuda::native(stream)));
  });
  return 2 * static_cast<double>(from.bytes()) / t.seconds;
}

double matmul_rate(Stream& stream, Patterns& patterns, DType dtype, cublasComputeType_t compute) {
  constexpr int kSize = 8192;
  Memory memory(stream, &patterns);
  const View a = memory.normal(dtype, {kSize, kSize}), b = memory.normal(dtype, {kSize, kSize}),
             c = memory.normal(dtype, {kSize, kSize});
  const cudaDataType type = dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
  cublasHandle_t handle = nullptr;
  CUBLAS_CHECK(cublasCreate(&handle));
  const std::shared_ptr<void> owner(handle,
                                    [](void* h) { cublasDestroy(static_cast<cublasHandle_t>(h)); });
  CUBLAS_CHECK(cublasSetStream(handle, cuda::native(stream)));
  const float one = 1, zero = 0;
  const Timing t = median_time(stream, 1, [&] {
    CUBLAS_CHECK(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, kSize, kSize, kSize, &one, a.data(),
                              type, kSize, b.data(), type, kSize, &zero, c.data(), type, kSize,
                              compute, CUBLAS_GEMM_DEFAULT));
  });
  return 2.0 * kSize * kSize * kSize / t.seconds;
}

class Bench {
 public:
  Bench(Stream& stream, const Report& report)
      : stream_(stream), report_(report), patterns_(stream) {
    cudaDeviceProp properties{};
    CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
    gpu_ = properties.name;
    l2_bytes_ = static_cast<std::size_t>(properties.l2CacheSize);
    driver_ = driver_version();
    peaks_.copy = copy_bandwidth(stream, patterns_);
    line({{"case", "copy bandwidth"}, {"gb_per_s", 1e-9 * peaks_.copy}});
    peaks_.bf16 = matmul_rate(stream, patterns_, DType::bf16, CUBLAS_COMPUTE_32F);
    line({{"case", "cuBLAS bf16 8192x8192x8192"}, {"tflop_per_s", 1e-12 * peaks_.bf16}});
    peaks_.tf32 = matmul_rate(stream, patterns_, DType::f32, CUBLAS_COMPUTE_32F_FAST_TF32);
    line({{"case", "cuBLAS tf32 8192x8192x8192"}, {"tflop_per_s", 1e-12 * peaks_.tf32}});
    peaks_.fp32 = matmul_rate(stream, patterns_, DType::f32, CUBLAS_COMPUTE_32F);
    line({{"case", "cuBLAS fp32 8192x8192x8192"}, {"tflop_per_s", 1e-12 * peaks_.fp32}});
  }

  void measure(const Case& c) {
    std::vector<std::unique_ptr<Memory>> memories;
    std::vector<Body> sets;
    const auto add_set = [&] {
      memories.push_back(std::make_unique<Memory>(stream_, &patterns_));
      sets.push_back(c.prepare(*memories.back(), stream_));
    };
    add_set();
    // Together beyond the L2 four times over, so that a set is gone from it when its turn comes
    // again.
    const std::size_t n = std::clamp<std::size_t>(
        4 * l2_bytes_ / std::max<std::size_t>(memories[0]->bytes(), 1) + 1, 1, 256);
    while (sets.size() < n) add_set();
    stream_.synchronize();

    auto& log = stream_.attached<cuda::LaunchLog>();
    log.entries.clear();
    log.on = true;
    sets[0](stream_);
    log.on = false;
    double bytes = c.products.bytes, flops = c.products.flops;
    for (const auto& e : log.entries) bytes += e.work.bytes, flops += e.work.flops;
    if (c.flops > 0) flops = c.flops;

    std::size_t next = 0;
    const Timing t =
        median_time(stream_, sets.size(), [&] { sets[next++ % sets.size()](stream_); });
    const double rate = c.rate == Rate::bf16   ? peaks_.bf16
                        : c.rate == Rate::tf32 ? peaks_.tf32
                                               : peaks_.fp32;
    const double memory_s = bytes / peaks_.copy, compute_s = flops / rate;
    static constexpr const char* kRates[] = {"bf16 matmul", "tf32 matmul", "fp32 matmul"};
    line({{"case", c.name},
          {"ms", 1e3 * t.seconds},
          {"gb_per_s", 1e-9 * bytes / t.seconds},
          {"tflop_per_s", 1e-12 * flops / t.seconds},
          {"bound", compute_s > memory_s ? kRates[static_cast<int>(c.rate)] : "copy bandwidth"},
          {"share", std::max(compute_s, memory_s) / t.seconds},
          {"bytes", bytes},
          {"flops", flops},
          {"launches", log.entries.size()},
          {"repeats", t.repeats},
          {"calls", t.calls},
          {"sets", sets.size()}});
  }

 private:
  void line(nlohmann::ordered_json j) {
    j["gpu"] = gpu_;
    j["driver"] = driver_;
    j["date"] = today();
    report_(j);
  }

  Stream& stream_;
  const Report& report_;
  Patterns patterns_;
  Peaks peaks_;
  std::string gpu_, driver_;
  std::size_t l2_bytes_ = 0;
};

}  // namespace

std::vector<std::string> measure(const std::vector<Case>& cases, double limit_s,
                                 const Report& report) {
  CHECK_USER(gpu_count() > 0, "no GPU on this machine (or no driver)");
  const auto start = std::chrono::steady_clock::now();
  Stream stream({DeviceType::cuda, 0});
  Bench bench(stream, report);
  std::vector<std::string> left;
  for (const Case& c : cases) {
    if (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > limit_s)
      left.push_back(c.name);
    else
      bench.measure(c);
  }
  return left;
}

}  // namespace weft::gpu_bench
