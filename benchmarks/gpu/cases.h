// The standard cases of every op of kernels/ops.h on a GPU: the sizes of a layer of a 7B-class
// model, training and decoding.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/device.h"
#include "memory.h"

namespace weft::gpu_bench {

// The rate that a case's FLOPs are compared with. fp32 attention multiplies on tensor cores, three
// tf32 products for one.
enum class Rate : std::uint8_t { bf16, tf32, fp32 };

// What cuBLAS is asked to do beside the launches that a stream logs.
struct Products {
  double bytes = 0, flops = 0;
};

using Body = std::function<void(Stream&)>;  // enqueues the op once on its set of tensors

struct Case {
  std::string name;
  Rate rate = Rate::fp32;
  Products products;
  std::function<Body(Memory&, Stream&)> prepare;  // lays out one set of tensors
  double flops = 0;  // of the op, where its launches do more (attention's backward multiplies q kᵀ
                     // twice) or do not know (packed lengths); 0: theirs
};

std::vector<Case> standard_cases();

// Parts of it.
std::vector<Case> linear_cases();
std::vector<Case> row_cases();  // dropout, norms, activations, rope
std::vector<Case> attention_cases();
std::vector<Case> vocabulary_cases();  // embedding, loss, sampling
std::vector<Case> parameter_cases();   // optimizer, elementwise
std::vector<Case> moving_cases();      // fill, rows, columns, sums, label losses

}  // namespace weft::gpu_bench
