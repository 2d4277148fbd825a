#include "kernels/backends.h"

namespace weft {

const Backend& cpu_backend() {
#define WEFT_CPU_OP(op) .op = cpu::op,
  static constexpr Backend table = {WEFT_FOR_EACH_OP(WEFT_CPU_OP)};
#undef WEFT_CPU_OP
  return table;
}

}  // namespace weft
