// cuBLASLt as cublas_lt.cpp emulates it.
#pragma once

#include <string>

namespace weft::cuda {

inline std::string cublas_lt_absence() { return ""; }

}  // namespace weft::cuda

#define WEFT_FIND_IN_CUBLAS_LT(function) &::function
