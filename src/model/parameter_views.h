// A parameter as ops are handed it; null parameters, which a model lacks, give empty views.
#pragma once

#include "model/parameters.h"

namespace weft {

// What matmuls read: the bf16 copy where there is one.
inline ConstView matmul_weight(const LocalParameter& p) {
  return p.weight_bf16.empty() ? p.weight : p.weight_bf16;
}
inline ConstView weight_of(const LocalParameter* p) {
  return p ? ConstView(p->weight) : ConstView();
}
inline View grad_of(const LocalParameter* p) { return p ? p->grad : View(); }

// A vocabulary's parameter with its padding: of x, a view of the parameter's own rows, all that its
// memory holds (padded_vocab rows).
template <class AnyView>
AnyView padded(const LocalParameter* p, AnyView x) {
  return x.empty() ? x : AnyView(x.data(), x.dtype(), p->held, x.device());
}

// x's elements as (n, the rest).
inline View as_rows(View x, std::int64_t n) { return x.reshape({n, x.elems() / n}); }

}  // namespace weft
