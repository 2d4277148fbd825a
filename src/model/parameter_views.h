// A parameter as ops are handed it; null parameters, which a model lacks, give empty views.
#pragma once

#include <utility>

#include "kernels/ops.h"
#include "kernels/panels.h"
#include "model/parameters.h"

namespace weft {

// What matmuls read: the bf16 copy where there is one.
inline ConstView matmul_weight(const LocalParameter& p) {
  return p.weight_bf16.empty() ? p.weight : p.weight_bf16;
}
inline ConstView weight_of(const LocalParameter* p) {
  return p ? ConstView(p->weight) : ConstView();
}
// For the one op that writes it next; the step's first one sets it.
inline Gradient begin_grad(const LocalParameter* p) {
  return p ? Gradient(p->grad, std::exchange(p->grad_begun, true)) : Gradient();
}

// A vocabulary's parameter with its padding: of x, a view of the parameter's own rows, all that its
// memory holds (padded_vocab rows). In panels, on a CPU, nothing pads.
template <class AnyView>
AnyView padded(const LocalParameter* p, AnyView x) {
  return x.empty() || is_in_panels(x) ? x : AnyView(x.data(), x.dtype(), p->held, x.device());
}
inline Gradient begin_padded_grad(const LocalParameter* p) {
  const Gradient own = begin_grad(p);
  return own.empty() ? own : Gradient(padded(p, own.sum), own.accumulate);
}

// x's elements as (n, the rest).
inline View as_rows(View x, std::int64_t n) { return x.reshape({n, x.elems() / n}); }

}  // namespace weft
