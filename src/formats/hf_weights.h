// Weights from and to Hugging Face directories. A rank reads only its slices of the mapped files.
#pragma once

#include <filesystem>

#include "comm/grid.h"
#include "formats/families.h"
#include "formats/new_tokens.h"
#include "formats/weight_source.h"
#include "io/weights/safetensors.h"
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

// Fills parameters.weight (and the bf16 copies) from a Hugging Face directory; the result says what
// was kept. UserErrors: a missing tensor, a wrong shape, a number that is not finite or too large
// for the dtype that holds it.
std::vector<KeptTensor> load_hf_weights(Parameters& parameters, const ModelConfig& config,
                                        const std::filesystem::path& path, Stream& stream,
                                        const LoadOptions& options = {});

// Whether config.json ties the head to the token table while the files hold another one
// (read_model_config has untied them): the sentence that says so, else "".
std::string warning_of_untied(const ModelConfig& config, const std::string& path);

// What such a directory holds besides parameters (Family::carried): from `source`, null or one that
// may lack them; rotary frequencies are computed where it does.
struct CarriedTensor {
  std::string name;
  DType dtype = DType::f32;  // as stored
  Dims shape;
  std::vector<float> values;
  bool found = false;  // in the source; else computed
};
bool is_frequencies(const std::string& name);  // rotary ones, which transformers computes
std::vector<CarriedTensor> carried_tensors(const ModelConfig& config, const WeightSource* source);
// Behind the parameters; in `dtype` where one is asked for, but frequencies, which it would spoil.
void add_carried(std::vector<TensorToWrite>& tensors, const std::vector<CarriedTensor>& carried,
                 std::optional<DType> dtype, Stream& stream);

// config.json, generation_config.json and model.safetensors (sharded above max_shard_bytes),
// written by rank 0, the slices gathered tensor by tensor. Collective. dtype: f32, bf16 or f16.
void save_hf_weights(const Parameters& parameters, const ModelConfig& config, const Grid& grid,
                     const std::filesystem::path& dir, DType dtype, std::int64_t max_shard_bytes,
                     Stream& stream, const std::vector<CarriedTensor>& carried = {});

// The whole of one parameter on world rank 0 (empty elsewhere), gathered from the ranks that own
// its parts. Collective over the first data-parallel replica; other ranks return at once. `of`
// picks the tensor: weight, grad, …
std::vector<float> gather_parameter(const Parameter& parameter, const Parameters& parameters,
                                    const ModelConfig& config, const Grid& grid,
                                    View LocalParameter::*of, Stream& stream);

// One part of it as a Hugging Face file stores it.
std::vector<float> gather_stored(const Parameter& parameter, std::size_t part,
                                 const Parameters& parameters, const ModelConfig& config,
                                 const Grid& grid, View LocalParameter::*of, Stream& stream);

// A tensor under its name, without the family's prefix (a base model's file), or as another writer
// calls it.
std::optional<StoredTensor> find_tensor(const WeightSource& source, const Family& row,
                                        const std::string& name);
// A parameter that one tensor holds, by its name in the registry ("head.weight"); none where the
// files do not have it.
std::optional<StoredTensor> find_stored(const WeightSource& source, const ModelConfig& config,
                                        const std::string& parameter);

// A parameter at a time, for who does not hold the model. The tensors that it is stored in; none
// where it belongs to a head that may be kept (`kept` then says which). UserErrors: missing, a
// wrong shape.
std::vector<StoredTensor> find_parameter(const WeightSource& source, const ModelConfig& config,
                                         const Parameter& parameter, const std::string& origin,
                                         MissingHead missing = MissingHead::error,
                                         KeptTensor* kept = nullptr);
// out = the slice of it, as the registry lays it out. UserError: a number that is not finite.
void read_parameter(const std::vector<StoredTensor>& tensors, const ModelConfig& config,
                    const Parameter& parameter, const Slice& slice, float* out, Stream& stream);

// What a Hugging Face directory of the model holds, in the registry's order: the parts of one
// parameter follow each other.
struct StoredPart {
  std::string name;
  Parameter parameter;
  std::size_t part = 0;  // of it
  Dims shape;
};
std::vector<StoredPart> stored_parts(const ModelConfig& config);
// out = the part, from the whole parameter as the registry lays it out.
void lay_out_part(const StoredPart& part, const ModelConfig& config, const float* whole,
                  float* out);
// config.json and generation_config.json. dtype: f32, bf16 or f16.
void write_hf_config_files(const ModelConfig& config, const std::filesystem::path& dir,
                           DType dtype);

// The GPT-2 way to write 5 GB: the largest file of an export, as transformers' default.
constexpr std::int64_t kMaxShardBytes = 5'000'000'000;

}  // namespace weft
