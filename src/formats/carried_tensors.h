// What a family's files hold besides parameters (Family::carried): kept from folder to folder,
// computed with by nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "formats/hf_tensors.h"
#include "io/weights/safetensors.h"

namespace weft {

struct CarriedTensor {
  std::string name;
  DType dtype = DType::f32;  // as stored
  Dims shape;
  std::vector<float> values;
  bool found = false;  // in the source; else computed
};
bool is_frequencies(const std::string& name);  // rotary ones, which transformers computes
// From `source`, null or one that may lack them; rotary frequencies are computed where it does.
std::vector<CarriedTensor> carried_tensors(const ModelConfig& config, const TensorSource* source);
// Behind the parameters; in `dtype` where one is asked for, but frequencies, which it would spoil.
// The stream must outlive the list.
void add_carried(std::vector<TensorToWrite>& tensors, const std::vector<CarriedTensor>& carried,
                 std::optional<DType> dtype, Stream& stream);

}  // namespace weft
