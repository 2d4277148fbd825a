// The GPU back end of WEFT_EMULATION_CHECK=runtime: the CPU's ops, enqueued on the emulated streams
// instead of kernels. So whole runs go through all of the runtime (memory, streams, events, copies)
// at the CPU's speed; what bf16 activations are, ops see widened to fp32.
#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/backends.h"
#include "kernels/scratch.h"
#include "runtime.h"

namespace weft {
namespace {

// A view as the CPU's ops see it.
View on_host(View x) { return View(x.data(), x.dtype(), x.shape()); }
ConstView on_host(ConstView x) { return ConstView(x.data(), x.dtype(), x.shape()); }
Gradient on_host(Gradient g) { return {on_host(g.sum), g.accumulate}; }
AdamWTensor on_host(AdamWTensor t) {
  t.weight = on_host(t.weight);
  t.m = on_host(t.m);
  t.v = on_host(t.v);
  t.grad = on_host(t.grad);
  t.weight_bf16 = on_host(t.weight_bf16);
  return t;
}
CachedPlan on_host(CachedPlan plan) {
  plan.table = on_host(plan.table);
  return plan;
}
template <class T>
T on_host(T x) {
  return x;
}

// The bf16 tensors of one call, in fp32; those that may be written go back.
class Widened {
 public:
  explicit Widened(Stream& host) : host_(host) {}
  View of(View x) { return x.dtype() == DType::bf16 ? wide(x, x) : x; }
  ConstView of(ConstView x) { return x.dtype() == DType::bf16 ? ConstView(wide(x, View())) : x; }
  void write_back() {
    for (auto& [begin, one] : held_)
      if (!one.back.empty())
        cpu::convert(one.back, View(one.values.data(), one.back.shape()), host_);
  }

 private:
  struct One {
    std::vector<float> values;
    View back;
  };
  View wide(ConstView x, View back) {
    One& one = held_[x.data()];
    if (one.values.empty()) {
      one.values.resize(static_cast<std::size_t>(std::max<std::int64_t>(x.elems(), 1)));
      cpu::convert(View(one.values.data(), x.shape()), x, host_);
    }
    if (!back.empty()) one.back = back;
    return View(one.values.data(), x.shape());
  }

  Stream& host_;
  std::map<const void*, One> held_;
};

// Arguments as they are kept until the op runs, and as they are handed to it then.
template <class T>
T kept(const T& x) {
  return x;
}
template <class T>
std::vector<std::remove_const_t<T>> kept(std::span<T> x) {
  return {x.begin(), x.end()};
}
struct HostStream {
  std::shared_ptr<Stream> stream = std::make_shared<Stream>(Device{}, 2);
};
std::shared_ptr<Stream> kept(Stream& stream) { return stream.attached<HostStream>().stream; }

// What an op reads and writes of the GPU's memory.
using emulation::Item;
void touch(Item& item, View x) {
  if (!x.empty()) item.touches.push_back(emulation::writes(x.data(), x.bytes()));
}
void touch(Item& item, ConstView x) {
  if (x.empty()) return;
  if (x.device().type == DeviceType::cuda)
    item.touches.push_back(emulation::reads(x.data(), x.bytes()));
  else
    item.refused = "it takes a table from host memory";
}
void touch(Item& item, const Gradient& g) { touch(item, g.sum); }
void touch(Item& item, const AdamWTensor& t) {
  for (const View& x : {t.weight, t.m, t.v, t.weight_bf16}) touch(item, x);
  touch(item, t.grad);
}
void touch(Item& item, const CachedPlan& plan) { touch(item, plan.table); }
template <class T>
void touch(Item&, const T&) {}
template <class T>
void touch(Item& item, std::span<T> list) {
  for (const auto& x : list) touch(item, x);
}

template <bool kWidens, class T>
auto given(T& x, Widened& widened) {
  const auto host = on_host(x);
  if constexpr (kWidens && (std::is_same_v<T, View> || std::is_same_v<T, ConstView>))
    return widened.of(host);
  else
    return host;
}
template <bool kWidens, class T>
std::span<const T> given(std::vector<T>& list, Widened&) {
  for (T& x : list) x = on_host(x);
  return list;
}
template <bool kWidens>
Stream& given(std::shared_ptr<Stream>& stream, Widened&) {
  return *stream;
}

struct OpName {
  char text[32] = {};
  template <std::size_t n>
  constexpr OpName(const char (&name)[n]) {
    std::copy(name, name + n, text);
  }
  constexpr operator std::string_view() const { return text; }
};

// Ops that move bits as they are.
constexpr bool widens(std::string_view op) {
  return op != "convert" && op != "fill" && op != "gather_rows" && op != "scatter_rows" &&
         op != "join_columns";
}
// Ops whose kernels take a table that the host makes for each call (kernels/cuda/upload_ring.h):
// what a graph launched later would read is another's.
constexpr bool uploads(std::string_view op) {
  return op == "adamw" || op == "sum_of_squares" || op == "sample" || op == "warp_logits";
}

// kOp, run when its stream comes to it.
template <auto kOp, OpName kName>
struct Enqueued;
template <class R, class... Params, R (*kOp)(Params...), OpName kName>
struct Enqueued<kOp, kName> {
  static constexpr bool kReturns = !std::is_void_v<R>, kWidens = widens(kName);

  static R call(Params... params) {
    Stream& stream = std::get<sizeof...(Params) - 1>(std::tie(params...));
    const auto result = std::make_shared<std::conditional_t<kReturns, R, int>>();
    Item item;
    item.name = kName.text;
    (touch(item, params), ...);
    if (uploads(kName)) item.refused = "its table is made by the host for each call";
    item.work = [result, host = kept(stream), all = std::make_tuple(kept(params)...)]() mutable {
      Widened widened(*host);
      std::apply(
          [&](auto&... args) {
            if constexpr (kReturns)
              *result = kOp(given<kWidens>(args, widened)...);
            else
              kOp(given<kWidens>(args, widened)...);
          },
          all);
      widened.write_back();
    };
    emulation::enqueue(static_cast<cudaStream_t>(stream.native()), std::move(item));
    if constexpr (kReturns) {
      stream.synchronize();
      return *result;
    }
  }
};

}  // namespace

const Backend& cuda_backend() {
#define WEFT_CUDA_OP(op) .op = Enqueued<&cpu::op, #op>::call,
  static constexpr Backend table = {WEFT_FOR_EACH_OP(WEFT_CUDA_OP)};
#undef WEFT_CUDA_OP
  return table;
}

bool cuda_available() { return gpu_count() > 0; }
std::string cuda_missing_library() { return ""; }
// Fewer than the kernels: the models of tests are small.
bool cuda_takes_head_dim(std::int64_t head_dim) { return head_dim <= 256; }
// The CPU's ops have theirs on the host.
std::size_t cuda_linear_scratch_bytes(const LinearSizes&) { return 0; }
std::size_t cuda_attention_cached_scratch_bytes(const CachedAttentionSizes&, const AttentionArgs&) {
  return 0;
}
std::size_t cuda_backward_scratch_bytes(const BackwardSizes&) { return 0; }
std::size_t cuda_workspace_bytes(std::int64_t) { return 0; }

}  // namespace weft
