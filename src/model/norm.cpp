#include "model/norm.h"

#include "model/parameter_views.h"

namespace weft {

NormParameters find_norm(const Parameters& parameters, const std::string& name) {
  const ModelConfig& c = parameters.config();
  return {.weight = parameters.find(name + ".weight"),
          .bias = parameters.find(name + ".bias"),
          .kind = c.norm,
          .offset = c.norm_offset,
          .eps = c.norm_eps};
}

NormStatistics allocate_norm(Arena& arena, const ModelConfig& config, std::int64_t B,
                             std::int64_t T) {
  NormStatistics s;
  if (config.norm == NormKind::layer) s.mean = arena.alloc(DType::f32, {B, T});
  s.rstd = arena.alloc(DType::f32, {B, T});
  return s;
}

void add_norm(const Context& ctx, View y, View sum, const NormStatistics& s, ConstView x,
              ConstView delta, const NormParameters& p, const Dropout& drop) {
  if (p.kind == NormKind::rms)
    add_rms_norm(y, sum, s.rstd, x, delta, p.weight->weight, p.offset, p.eps, drop, ctx.stream);
  else
    add_layer_norm(y, sum, s.mean, s.rstd, x, delta, p.weight->weight, p.bias->weight, p.eps, drop,
                   ctx.stream);
}

void add_delta(const Context& ctx, View sum, ConstView x, ConstView delta, const Dropout& drop) {
  add_layer_norm(View(), sum, View(), View(), x, delta, ConstView(), ConstView(), 1e-5f, drop,
                 ctx.stream);
}

void add_delta_backward(const Context& ctx, View dsum, View ddelta, const Dropout& drop) {
  add_layer_norm_backward(dsum, ddelta, View(), View(), ConstView(), ConstView(), ConstView(),
                          ConstView(), ConstView(), drop, ctx.stream);
}

void add_norm_backward(const Context& ctx, View dsum, View ddelta, ConstView dy, ConstView sum,
                       const NormStatistics& s, const NormParameters& p, const Dropout& drop) {
  if (p.kind == NormKind::rms)
    add_rms_norm_backward(dsum, ddelta, begin_grad(p.weight), dy, sum, s.rstd, p.weight->weight,
                          p.offset, drop, ctx.stream);
  else
    add_layer_norm_backward(dsum, ddelta, begin_grad(p.weight), begin_grad(p.bias), dy, sum, s.mean,
                            s.rstd, p.weight->weight, drop, ctx.stream);
}

}  // namespace weft
