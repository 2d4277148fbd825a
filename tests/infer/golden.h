// The reference's generation (tests/data/generation.json) and the golden models.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "formats/families/families.h"
#include "formats/hf_weights.h"
#include "infer/engine.h"
#include "infer/generation_file.h"
#include "tests/held_model.h"
#include "tests/mpi_main.h"

namespace weft::test {

using Ids = std::vector<std::int32_t>;

inline const std::vector<std::string> kModels = {"gpt2_h3", "gpt2_h5"};

inline const Json& golden() {
  static const Json json = read_json_object(data_dir() / "generation.json");
  return json;
}

inline Generation greedy_options(std::int64_t max_new_tokens) {
  Generation g;
  g.max_new_tokens = max_new_tokens;
  return g;
}

// The generation that an option set of generation.json means where it is a model's
// generation_config.json. What is no option of a file is the request's.
inline Generation options_of(const Json& json, std::int64_t n_prompt = 1) {
  GenerationOptions request;
  if (json.contains("negative_prompt_ids"))
    for (const Json& id : json["negative_prompt_ids"])
      request.negative_prompt_ids.push_back(json_text(id));
  return resolve_generation(
      request, {}, parse_generation_config(json_text(json), "generation_config.json"),
      {.what = "case", .n_tokens = n_prompt, .context = 90, .vocab = 5000}, nullptr);
}

// A folder's model on a grid, as `model` would have it.
struct ModelOnGrid : HeldModel {
  ModelOnGrid(std::unique_ptr<Communicator> world, GridShape shape, ModelConfig model,
              const std::filesystem::path& dir, DType dtype = DType::f32,
              const LoadOptions& options = {})
      : HeldModel(std::move(world), shape, std::move(model), ParameterUse::inference, dtype) {
    load_hf_weights(parameters, config, dir, stream, options);
  }
};

// A golden model on a grid.
struct Loaded : ModelOnGrid {
  Loaded(std::unique_ptr<Communicator> world, GridShape shape, const std::string& model,
         DType dtype = DType::f32)
      : ModelOnGrid(std::move(world), shape, read_hf_config(data_dir() / model), data_dir() / model,
                    dtype) {}

  // The completions of all requests, each by its samples.
  std::vector<std::vector<Completion>> complete(const std::vector<GenerationRequest>& requests,
                                                EngineLimits limits = {},
                                                const Tokenizer* tokenizer = nullptr) {
    std::vector<std::vector<Completion>> all(requests.size());
    Engine engine(ctx, config, parameters, tokenizer, limits);
    engine.run(requests, [&](std::size_t r, std::int64_t sample, const Completion& c) {
      EXPECT_EQ(static_cast<std::int64_t>(all[r].size()), sample);
      all[r].push_back(c);
    });
    return all;
  }
};

// f(loaded, name) on every grid of the ranks at hand.
template <class F>
void on_every_grid(const std::string& model, F&& f, DType dtype = DType::f32) {
  const ModelConfig config = read_hf_config(data_dir() / model);
  for (const GridShape& shape : grids_of(test_mpi().world()->size(), config)) {
    Loaded loaded(test_mpi().world(), shape, model, dtype);
    f(loaded, model + " " + name_of(shape));
  }
}

inline std::vector<Ids> prompts_of(const std::string& model) {
  return golden()[model]["prompts"].get<std::vector<Ids>>();
}
inline std::vector<Ids> greedy_of(const std::string& model) {
  return golden()[model]["greedy"].get<std::vector<Ids>>();
}

}  // namespace weft::test
