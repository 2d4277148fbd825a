#include "formats/carried_tensors.h"

#include <cmath>
#include <cstring>

#include "kernels/ops.h"

namespace weft {
namespace {

bool is_number(const StoredTensor& t) {
  return t.unreadable.empty() && (t.dtype == DType::f32 || t.dtype == DType::f16 ||
                                  t.dtype == DType::bf16 || t.dtype == DType::f64);
}

}  // namespace

bool is_frequencies(const std::string& name) { return name.ends_with("inv_freq"); }

std::vector<CarriedTensor> carried_tensors(const ModelConfig& config, const TensorSource* source) {
  const Family& row = family(config.family);
  std::vector<CarriedTensor> list;
  for (const std::string& pattern : row.carried) {
    const std::size_t hole = pattern.find("{}");
    const bool frequencies = is_frequencies(pattern);
    for (std::int64_t layer = 0; layer < (hole == std::string::npos ? 1 : config.layers); ++layer) {
      std::string name = row.prefix + pattern;
      if (hole != std::string::npos)
        name.replace(row.prefix.size() + hole, 2, std::to_string(layer));
      auto stored = source ? find_tensor(*source, row, name) : std::nullopt;
      if (stored && !is_number(*stored)) stored.reset();
      CarriedTensor tensor = {.name = name,
                              .dtype = DType::f32,
                              .shape = {},
                              .values = {},
                              .found = stored.has_value()};
      if (stored) {
        tensor.dtype = stored->dtype == DType::bf16 || stored->dtype == DType::f16 ? stored->dtype
                                                                                   : DType::f32;
        tensor.shape = stored->shape;
        tensor.values.resize(static_cast<std::size_t>(stored->shape.elems()));
        read_elements(*stored, 0, stored->shape.elems(), tensor.values.data());
      } else if (frequencies && config.positions == Positions::rope) {
        for (std::int64_t i = 0; i < config.rope.dims; i += 2)  // in fp32, as torch does
          tensor.values.push_back(
              1.0f / std::pow(static_cast<float>(config.rope.theta),
                              static_cast<float>(i) / static_cast<float>(config.rope.dims)));
        tensor.shape = Dims{config.rope.dims / 2};
      } else {
        continue;
      }
      list.push_back(std::move(tensor));
    }
  }
  return list;
}

void add_carried(std::vector<TensorToWrite>& tensors, const std::vector<CarriedTensor>& carried,
                 std::optional<DType> dtype, Stream& stream) {
  for (const CarriedTensor& tensor : carried) {
    const DType as = is_frequencies(tensor.name) ? tensor.dtype : dtype.value_or(tensor.dtype);
    tensors.push_back(
        {tensor.name, as, tensor.shape, [&stream, tensor, as](std::span<std::byte> out) {
           if (out.empty()) return;  // a rank that does not write
           if (as == DType::f32)
             std::memcpy(out.data(), tensor.values.data(), out.size());
           else
             convert(View(out.data(), as, tensor.shape),
                     ConstView(tensor.values.data(), tensor.shape), stream);
         }});
  }
}

}  // namespace weft
