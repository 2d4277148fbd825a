#include "formats/checkpoint_weights.h"

#include <optional>

#include "core/check.h"
#include "core/damaged.h"
#include "formats/checkpoint.h"
#include "formats/tensor_checksum.h"
#include "io/files.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

class CheckpointWeights : public WeightSource {
 public:
  CheckpointWeights(const fs::path& file, const CheckpointHeader& header)
      : path_(file), config_(header.config), checksum_(header.checksum) {}

  // Under the file's own config: the head that the model is opened with may lack tensors of it.
  std::vector<KeptTensor> load(const Context& ctx, Parameters& parameters, const ModelConfig&,
                               const LoadOptions&) const override {
    load_checkpoint(ctx, path_, parameters, config_);
    return {};
  }

  void check(const ModelConfig&) const override {}  // its header is written with its tensors

  std::vector<float> read(const Parameter& p, const ModelConfig&, Stream& stream) override {
    if (!file_) {
      file_ = Hdf5File::open(path_);
      header_ = read_header(*file_);
    }
    const std::string dataset = kCheckpointTensors[0].group + p.name;
    CHECK_WHOLE(file_->shape(dataset) == p.shape, "{}: dataset {} is {}, expected {}",
                path_.string(), dataset, file_->shape(dataset).str(), p.shape.str());
    std::vector<float> values(static_cast<std::size_t>(p.shape.elems()));
    file_->read_all(dataset, View(values.data(), p.shape));
    const std::uint64_t sum =
        elements_checksum(values.data(), {{0, 0, p.shape.elems()}}, stream.n_threads());
    CHECK_WHOLE(checksum_of(header_, p.name, 0, path_) == static_cast<std::int64_t>(sum),
                "{}: dataset {} is damaged (its checksum differs)", path_.string(), dataset);
    return values;
  }

  DType dtype(const StoredPart&, const ModelConfig&) const override { return DType::f32; }
  std::vector<CarriedTensor> carried(const ModelConfig& config) const override {
    return carried_tensors(config, nullptr);
  }
  std::size_t n_tensors() const override { return stored_parameters(config_).size(); }
  std::string format() const override { return "fp32"; }
  std::int64_t bytes(const ModelConfig& config) const override {
    return count_parameters(config) * static_cast<std::int64_t>(sizeof(float));
  }
  std::uint64_t checksum(const ModelConfig&) const override { return checksum_; }

 private:
  fs::path path_;
  ModelConfig config_;
  std::uint64_t checksum_;
  std::optional<Hdf5File> file_;  // from the first read on
  Json header_;
};

}  // namespace

std::unique_ptr<WeightSource> checkpoint_weights(const fs::path& file,
                                                 const CheckpointHeader& header) {
  return std::make_unique<CheckpointWeights>(file, header);
}

void write_weights_checkpoint(const fs::path& file, const ModelConfig& config,
                              const ModelTexts& texts,
                              const std::function<std::vector<float>(const Parameter&)>& weight,
                              int n_threads) {
  const RunState state = {.step = 0,
                          .cursor = 0,
                          .seed = 0,
                          .tokenizer = texts.tokenizer,
                          .generation = texts.generation};
  FileBeside beside(file);
  beside.reserve(count_parameters(config) * 4 +
                 static_cast<std::int64_t>(texts.tokenizer.size() + texts.generation.size()) +
                 (1 << 20));
  Hdf5File out = Hdf5File::create(beside.path());
  std::vector<std::int64_t> sums;
  for (const Parameter& p : stored_parameters(config)) {
    const std::vector<Run> all = {{0, 0, p.shape.elems()}};
    for (const CheckpointTensor& kind : kCheckpointTensors) {
      const bool moments = kind.tensor != &LocalParameter::weight;
      const std::vector<float> values =
          moments ? std::vector<float>(static_cast<std::size_t>(p.shape.elems())) : weight(p);
      sums.push_back(static_cast<std::int64_t>(elements_checksum(values.data(), all, n_threads)));
      if (moments) {
        out.create_zeros(kind.group + p.name, DType::f32, p.shape);
        continue;
      }
      out.create_dataset(kind.group + p.name, DType::f32, p.shape);
      out.write(kind.group + p.name, ConstView(values.data(), p.shape), file_runs(all));
    }
  }
  write_texts(out, checkpoint_header(config, state, sums), state);
  out.close();
  beside.put_in_place();
}

}  // namespace weft
