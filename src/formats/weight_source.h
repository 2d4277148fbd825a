// Where a model's weights come from, whatever holds them: a Hugging Face directory, a GGUF file, a
// checkpoint.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/carried_tensors.h"
#include "formats/hf_layout.h"
#include "formats/new_tokens.h"
#include "model/context.h"
#include "model/parameters.h"

namespace weft {

// What becomes of a head that the files do not have, or of labels of which they have another
// number: a mistake, or new weights as they were initialised (fine-tuning; transformers'
// ignore_mismatched_sizes).
enum class MissingHead : std::uint8_t { error, keep };

// How a model may differ from the files that it starts from.
struct LoadOptions {
  MissingHead missing = MissingHead::error;
  NewTokens new_tokens = {};
};

// A tensor of a head that keeps the weights it was initialised with.
struct KeptTensor {
  std::string name;
  std::string shapes;  // "(3, 48) there, (2, 48) here", where the files hold another; else empty
};

// `config` is the model's that the weights are for, which may have another head than the files'.
class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // Fills parameters.weight (and the bf16 copies), each rank its own slices; from a checkpoint also
  // the moments, where the parameters have them. Says what this rank holds of that was kept.
  // Collective over the world: what one rank throws, all throw. UserErrors: a missing tensor, a
  // wrong shape, a number that is not finite or too large for the dtype that holds it; Damaged
  // where a checksum differs.
  virtual std::vector<KeptTensor> load(const Context& ctx, Parameters& parameters,
                                       const ModelConfig& config,
                                       const LoadOptions& options = {}) const = 0;

  // The rest is for one process alone.

  // UserError where a tensor that the config asks for is missing or of another shape.
  virtual void check(const ModelConfig& config) const = 0;
  // The whole of a parameter, as the registry lays it out. UserErrors and Damaged as in load().
  virtual std::vector<float> read(const Parameter& parameter, const ModelConfig& config,
                                  Stream& stream) = 0;
  // How a part of one is stored; what no safetensors file of a model holds (blocks) is fp32.
  virtual DType dtype(const StoredPart& part, const ModelConfig& config) const = 0;
  virtual std::vector<CarriedTensor> carried(const ModelConfig& config) const = 0;
  virtual std::size_t n_tensors() const = 0;
  // How most of the elements are stored: "fp32", "bf16", "q4_1".
  virtual std::string format() const = 0;
  // What the model's tensors take there. Of plain numbers in safetensors or pytorch_model.bin,
  // which may hold more than the model: its elements, all taken to be of format().
  virtual std::int64_t bytes(const ModelConfig& config) const = 0;
  // Whether two ranks read the same weights, without reading all of them.
  virtual std::uint64_t checksum(const ModelConfig& config) const = 0;
  // What would make it open faster, a sentence; "": nothing.
  virtual std::string advice() const { return ""; }
};

}  // namespace weft
