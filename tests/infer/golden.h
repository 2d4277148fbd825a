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

// The generation that an option set of generation.json means.
inline Generation options_of(const Json& json) {
  GenerationOptions o;
  const auto number = [&](const char* key, auto& to) {
    if (json.contains(key)) to = json[key].get<typename std::decay_t<decltype(to)>::value_type>();
  };
  number("do_sample", o.do_sample);
  number("temperature", o.temperature);
  number("top_k", o.top_k);
  number("top_p", o.top_p);
  number("min_p", o.min_p);
  number("typical_p", o.typical_p);
  number("repetition_penalty", o.repetition_penalty);
  number("no_repeat_ngram_size", o.no_repeat_ngram_size);
  number("min_new_tokens", o.min_new_tokens);
  number("num_beams", o.num_beams);
  number("num_return_sequences", o.num_return_sequences);
  number("length_penalty", o.length_penalty);
  if (json.contains("early_stopping"))
    o.early_stopping = json["early_stopping"].is_string() ? "never" : "true";
  GenerationFile file;
  if (json.contains("eos_token_id"))
    file.eos = json["eos_token_id"].is_array() ? json["eos_token_id"].get<Ids>()
                                               : Ids{json["eos_token_id"].get<std::int32_t>()};
  if (json.contains("bad_words_ids"))
    file.bad_words = json["bad_words_ids"].get<std::vector<Ids>>();
  return resolve_generation({}, o, file,
                            {.what = "case", .n_tokens = 1, .context = 90, .vocab = 5000}, nullptr);
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
