#include "formats/hf_export.h"

#include "formats/hf_layout.h"
#include "io/files.h"
#include "kernels/ops.h"
#include "model/gather_parameter.h"

namespace weft {

std::vector<float> gather_stored(const Parameter& parameter, std::size_t part,
                                 const Parameters& parameters, const ModelConfig& config,
                                 const Grid& grid, View LocalParameter::*of, Stream& stream) {
  const StoredParameter stored = stored_parameter(family(config.family), config, parameter);
  std::vector<float> out(
      grid.world().rank() == 0
          ? static_cast<std::size_t>(stored_shape(parameter.shape, stored, part).elems())
          : 0);
  gather_runs(parameter, parameters, config, grid, of, stream,
              [&](std::int64_t begin, const float* from, std::int64_t n) {
                place_run(out.data(), stored, part, config, parameter.shape, begin, from, n);
              });
  return out;
}

void write_hf_config_files(const ModelConfig& config, const std::filesystem::path& dir,
                           DType dtype) {
  make_folder(dir);
  OrderedJson json = write_hf_config(config);
  json["dtype"] = dtype == DType::f32 ? "float32" : dtype == DType::bf16 ? "bfloat16" : "float16";
  json.erase("torch_dtype");
  write_file_atomically(dir / "config.json", json_text(json, 2) + "\n");
  OrderedJson generation = {{"_from_model_config", true}};
  if (config.bos_id >= 0) generation["bos_token_id"] = config.bos_id;
  if (const auto ends = end_tokens(config); !ends.empty())
    generation["eos_token_id"] = ends.size() == 1 ? OrderedJson(ends[0]) : OrderedJson(ends);
  write_file_atomically(dir / "generation_config.json", json_text(generation, 2) + "\n");
}

void save_hf_weights(const Parameters& parameters, const ModelConfig& config, const Grid& grid,
                     const std::filesystem::path& dir, DType dtype, std::int64_t max_shard_bytes,
                     Stream& stream, const std::vector<CarriedTensor>& carried) {
  const bool writes = grid.world().rank() == 0;
  const Family& row = family(config.family);
  std::vector<TensorToWrite> tensors;
  for (const StoredPart& part : stored_parts(config)) {
    const auto fill = [&, part, writes](std::span<std::byte> out) {
      const StoredParameter stored = stored_parameter(row, config, part.parameter);
      std::vector<float> wide(
          writes && dtype != DType::f32 ? static_cast<std::size_t>(part.shape.elems()) : 0);
      float* to = dtype == DType::f32 ? reinterpret_cast<float*>(out.data()) : wide.data();
      gather_runs(part.parameter, parameters, config, grid, &LocalParameter::weight, stream,
                  [&](std::int64_t begin, const float* from, std::int64_t n) {
                    place_run(to, stored, part.part, config, part.parameter.shape, begin, from, n);
                  });
      if (!writes || dtype == DType::f32) return;
      const Dims flat = {part.shape.elems()};
      convert(View(out.data(), dtype, flat), ConstView(wide.data(), flat), stream);
    };
    tensors.push_back({part.name, dtype, part.shape, fill});
  }
  add_carried(tensors, carried, dtype, stream);
  if (writes) write_hf_config_files(config, dir, dtype);
  write_safetensors(dir, tensors, max_shard_bytes, writes);
}

}  // namespace weft
