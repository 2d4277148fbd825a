// What options that several commands share may be.
#pragma once

#include <optional>

#include "core/fields.h"
#include "core/tensor.h"

namespace weft {

// How weights of a model may be held, and what else is to come.
constexpr Word<DType> kWeightDTypes[] = {
    {"fp32", DType::f32}, {"bf16", DType::bf16}, {"fp16", DType::f16}};
inline const Words kHeldDTypes(kWeightDTypes, {"int8", "int4"});
// What matrix products of training may be in.
inline const Words kTrainDTypes{"fp32", "bf16"};
// What --dtype says; none where it is not given.
inline std::optional<DType> dtype_of(const std::string& name) {
  return name.empty() ? std::nullopt : std::optional(value_of(kWeightDTypes, "--dtype", name));
}

inline const Words kDevices{"cpu", "cuda"};
constexpr const char* kDeviceHelp =
    "what to run on; unset: a GPU where one can be used, else the CPU";
constexpr const char* kGpuMapHelp =
    "GPU of each local rank, as 3,2,1,0; unset: the machine's (WEFT_MACHINE), else in order";
// --comm-timeout, of GPUs; MPI knows none.
constexpr Integers kCommTimeout{1, 86'400};
constexpr const char* kCommTimeoutHelp =
    "seconds that a GPU waits for another rank's before the run ends";
constexpr std::int64_t kCommTimeout_s = 600;

// --kv-cache-dtype: how keys and values of cached tokens are held; auto: as activations are.
constexpr Word<std::optional<DType>> kCacheWords[] = {
    {"auto", std::nullopt}, {"fp32", DType::f32}, {"bf16", DType::bf16}, {"int8", DType::i8}};
inline const Words kCacheDTypes(kCacheWords);
constexpr const char* kCacheDTypeHelp =
    "how cached keys and values are held: bf16 takes half of fp32's memory, int8 (a scale a token "
    "and head) about a quarter";

// What a model is trained for, and its data made for.
inline const Words kTasks{"clm", "mlm", "classify", "regress"};

// --tp and --pp, and --dp with its 0: three of them multiply without overflow.
constexpr Integers kGridAxis{1, 1 << 20}, kGridAxisOrLeft{0, 1 << 20, "what --tp and --pp leave"};

constexpr Integers kThreads{0, 4096, "the host's cores shared among its ranks"};

}  // namespace weft
