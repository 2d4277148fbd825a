#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "core/check.h"
#include "kernels/cpu/gemm.h"
#include "kernels/ops.h"

namespace weft {

std::string matmul_library() {
  const dnnl_version_t* v = dnnl_version();
  return fmt::format("oneDNN {}.{}.{}", v->major, v->minor, v->patch);
}

}  // namespace weft

namespace weft::cpu {
namespace {

using dnnl::memory;

struct ShapeHash {
  std::size_t operator()(const std::pair<GemmShape, bool>& key) const {
    const GemmShape& s = key.first;
    std::size_t h = 0;
    for (std::int64_t x : {s.M, s.N, s.K, std::int64_t{s.transpose_a}, std::int64_t{s.transpose_b},
                           std::int64_t{s.accumulate}, static_cast<std::int64_t>(s.inputs),
                           std::int64_t{key.second}})
      h = h * 0x9E3779B97F4A7C15ull + static_cast<std::size_t>(x);
    return h;
  }
};

// Texts of differing lengths ask for products of ever new sizes, and one held is about 70 kB. A
// step takes a few dozen; a job of many lengths a few hundred.
constexpr std::size_t kMostPrimitives = 1024;

// A primitive and its memories; making one costs far more than a small product.
struct Primitive {
  dnnl::matmul op;
  memory a, b, c, bias;
  std::uint64_t last_use = 0;
};

struct Gemms {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<std::pair<GemmShape, bool>, Primitive, ShapeHash> cache;
  std::uint64_t uses = 0;

  Gemms() { dnnl::set_primitive_cache_capacity(0); }  // its own would hold as many again

  Primitive& get(const GemmShape& s, bool with_bias) {
    auto entry = cache.find({s, with_bias});
    if (entry == cache.end()) {
      if (cache.size() == kMostPrimitives) drop_least_used();
      entry = cache.emplace(std::pair{s, with_bias}, make(s, with_bias)).first;
    }
    entry->second.last_use = ++uses;
    return entry->second;
  }

  void drop_least_used() {
    cache.erase(std::min_element(cache.begin(), cache.end(), [](const auto& a, const auto& b) {
      return a.second.last_use < b.second.last_use;
    }));
  }

  Primitive make(const GemmShape& s, bool with_bias) {
    const auto type = s.inputs == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
    using Tag = memory::format_tag;
    const memory::desc a({s.M, s.K}, type, s.transpose_a ? Tag::ba : Tag::ab);
    const memory::desc b({s.K, s.N}, type, s.transpose_b ? Tag::ba : Tag::ab);
    const memory::desc c({s.M, s.N}, memory::data_type::f32, Tag::ab);
    const memory::desc bias =
        with_bias ? memory::desc({1, s.N}, memory::data_type::f32, Tag::ab) : memory::desc();
    dnnl::primitive_attr attributes;
    if (s.accumulate) {
      dnnl::post_ops post;
      post.append_sum(1.0f);
      attributes.set_post_ops(post);
    }
    const dnnl::matmul::desc desc =
        with_bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
    Primitive p;
    p.op = dnnl::matmul(dnnl::matmul::primitive_desc(desc, attributes, engine));
    p.a = memory(a, engine, nullptr);
    p.b = memory(b, engine, nullptr);
    p.c = memory(c, engine, nullptr);
    if (with_bias) p.bias = memory(bias, engine, nullptr);
    return p;
  }
};

}  // namespace

bool gemm_has_bf16() {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

void gemm(float* c, const void* a, const void* b, const float* bias, const GemmShape& shape,
          Stream& stream) {
  if (shape.M == 0 || shape.N == 0) return;
  omp_set_num_threads(stream.n_threads());  // oneDNN takes its team from the calling thread
  Gemms& gemms = stream.attached<Gemms>();
  try {
    Primitive& p = gemms.get(shape, bias != nullptr);
    p.a.set_data_handle(const_cast<void*>(a), gemms.stream);
    p.b.set_data_handle(const_cast<void*>(b), gemms.stream);
    p.c.set_data_handle(c, gemms.stream);
    std::unordered_map<int, memory> arguments = {
        {DNNL_ARG_SRC, p.a}, {DNNL_ARG_WEIGHTS, p.b}, {DNNL_ARG_DST, p.c}};
    if (bias) {
      p.bias.set_data_handle(const_cast<float*>(bias), gemms.stream);
      arguments.emplace(DNNL_ARG_BIAS, p.bias);
    }
    p.op.execute(gemms.stream, arguments);
    gemms.stream.wait();
  } catch (const dnnl::error& error) {
    throw Error(fmt::format("oneDNN: {} (matmul {} x {} x {} in {})", error.what(), shape.M,
                            shape.N, shape.K, dtype_name(shape.inputs)));
  }
}

}  // namespace weft::cpu
