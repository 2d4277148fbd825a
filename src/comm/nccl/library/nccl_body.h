// NCCL as a library that is loaded when it is first needed.
#pragma once

#include <cstdlib>
#include <string>

#include "core/library.h"

namespace weft {

inline const Library& nccl_library() {
  static const Library library = [] {
    const auto lib = [](const char* variable) {
      const char* home = std::getenv(variable);
      return home ? std::string(home) + "/lib" : "";
    };
    return Library("libnccl.so.2", {lib("NCCL_HOME"), lib("NCCL_ROOT"), WEFT_NCCL_LIBRARY_FOLDER});
  }();
  return library;
}

}  // namespace weft

#define WEFT_NCCL_ABSENCE() nccl_library().absence()
#define WEFT_FIND_IN_NCCL(function) \
  reinterpret_cast<decltype(&::function)>(nccl_library().find(#function))
