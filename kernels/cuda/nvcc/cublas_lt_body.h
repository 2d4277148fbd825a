// cuBLASLt as a library that is loaded when it is first needed.
#pragma once

#include <cstdlib>
#include <string>

#include "core/library.h"

namespace weft::cuda {

inline const Library& cublas_lt_library() {
  static const Library library = [] {
    const char* home = std::getenv("CUDA_HOME");
    return Library("libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR),
                   {home ? std::string(home) + "/lib64" : "", WEFT_CUDA_LIBRARY_FOLDER});
  }();
  return library;
}
inline std::string cublas_lt_absence() { return cublas_lt_library().absence(); }

}  // namespace weft::cuda

#define WEFT_FIND_IN_CUBLAS_LT(function) \
  reinterpret_cast<decltype(&::function)>(cublas_lt_library().find(#function))
