#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "cases.h"

namespace weft::gpu_bench {

using Report = std::function<void(const nlohmann::ordered_json&)>;  // one line each

// Times the cases on the GPU beside its copy bandwidth and cuBLAS's rates, which are measured
// first; stops before a case where limit_s seconds have passed and returns the names of those left.
// An emulated GPU is refused (measure_emulated.cpp).
std::vector<std::string> measure(const std::vector<Case>& cases, double limit_s,
                                 const Report& report);

// The launches of every case, none of them run.
void list_launches(const std::vector<Case>& cases, const Report& report);

}  // namespace weft::gpu_bench
