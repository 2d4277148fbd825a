// Whole training runs of a tiny model inside a test: their data, their options, what they leave.
#pragma once

#include <map>

#include "core/log.h"
#include "io/token_file.h"
#include "tests/io/shared_folder.h"
#include "tests/io/token_file_alone.h"
#include "tests/train/trial.h"
#include "train/trainer.h"

namespace weft::test {

struct DataSettings {
  std::int64_t vocab = 61, n_tokens = 3000;
  double val_fraction = 0.1;
  std::uint64_t seed = 12345;
};

// A token file of made-up documents, written by rank 0. Collective.
inline std::string make_data(const SharedFolder& folder, const DataSettings& settings = {}) {
  const std::filesystem::path file = folder / "data.h5";
  if (folder.rank() == 0) {
    TokenFilePart part;
    std::uint64_t state = settings.seed;
    for (std::int64_t left = settings.n_tokens; left > 0;) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      const std::int64_t n =
          std::min<std::int64_t>(left, 5 + static_cast<std::int64_t>(state >> 33) % 20);
      const auto first = static_cast<std::int64_t>(state >> 40);
      for (std::int64_t i = 0; i + 1 < n; ++i)
        part.tokens.push_back(static_cast<std::int32_t>((first + i * 3) % (settings.vocab - 1)));
      part.tokens.push_back(static_cast<std::int32_t>(settings.vocab - 1));
      part.document_lengths.push_back(n);
      left -= n;
    }
    TokenFileInfo info;
    info.tokenizer_hash = std::string(32, '0');
    info.vocab_size = settings.vocab;
    info.val_fraction = settings.val_fraction;
    info.n_tokens = settings.n_tokens;
    info.n_documents = static_cast<std::int64_t>(part.document_lengths.size());
    test::write_token_file_alone(file, info, part);
  }
  folder.barrier();
  return file.string();
}

inline TrainOptions small_options(const SharedFolder& folder, const std::string& data,
                                  const std::string& out) {
  TrainOptions o;
  o.layers = 2;
  o.width = 24;
  o.heads = 3;
  o.context = 16;
  o.data = data;
  o.out = (folder / out).string();
  o.steps = 20;
  o.batch_size = 5;
  o.micro_batch_size = 2;
  o.lr = 1e-2;
  o.warmup_steps = 3;
  o.dropout = 0.1;
  o.seed = 5;
  o.threads = 1;
  return o;
}

// The run, on the whole world; on a GPU where the suites are (tests/held_model.h). Collective.
inline void run(const TrainOptions& options) {
  set_log_quiet(true);
  auto world = test_mpi().world();
  TrainingEnvironment environment;
  environment.device = device_for(*world);
  environment.recipe = [](const TrainOptions& o) { return fmt::format("lr = {}\n", o.lr); };
  environment.facts = {{"version", "test"}, {"hosts", {"here"}}};
  Stream stream({}, environment.n_threads);
  TrainingStart start = resolve_together(options, *world, stream);
  train(std::move(world), options, std::move(start), environment);
}

inline std::vector<Json> log_lines(const std::string& out, const std::string& event = "") {
  std::vector<Json> lines;
  std::ifstream in(std::filesystem::path(out) / "run.jsonl");
  for (std::string line; std::getline(in, line);) {
    Json json = parse_json(line);  // throws where a line is not JSON
    if (event.empty() || json.at("event") == event) lines.push_back(std::move(json));
  }
  return lines;
}

// Loss by step; where a step stands twice the last line counts.
inline std::map<std::int64_t, double> losses_of(const std::string& out) {
  std::map<std::int64_t, double> losses;
  for (const Json& line : log_lines(out, "step"))
    losses[line.at("step").get<std::int64_t>()] = line.at("loss").get<double>();
  return losses;
}

// Everything that a checkpoint says of itself: step, cursor, and a checksum of the bits of every
// tensor.
inline std::string header_of(const std::filesystem::path& checkpoint) {
  return Hdf5File::open(checkpoint).read_text("/header");
}

inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace weft::test
