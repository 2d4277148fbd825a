#pragma once

#include <string>

namespace weft::gpu_bench {

// The kernel's mangled name, as in the compiler's register report; the program exports its symbols
// for this (-rdynamic). "cuBLASLt" of null, a product of matrices.
std::string symbol_of(const void* kernel);

}  // namespace weft::gpu_bench
