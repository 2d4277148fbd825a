#include "formats/hf_weights.h"

#include <algorithm>
#include <bit>

#include "comm/agreement.h"
#include "core/check.h"
#include "core/checksum.h"
#include "formats/hf_parameter.h"
#include "formats/narrow.h"

namespace weft {
namespace {

// The rows that the files have, then the new ones; the slice is of rows, as all that are by token.
void read_with_new_rows(const std::vector<StoredTensor>& tensors, const ModelConfig& config,
                        const Parameter& parameter, const Slice& slice, const NewTokens& tokens,
                        float* out, Stream& stream) {
  const Parameter old = with_tokens(parameter, tokens.n_old);
  const std::int64_t columns = parameter.shape.rank() == 2 ? parameter.shape[1] : 1;
  for (const Range& rows : ranges_along(slice, 0)) {
    const Range there = {std::min(rows.begin, tokens.n_old), std::min(rows.end, tokens.n_old)},
                fresh = {std::max(rows.begin, tokens.n_old), std::max(rows.end, tokens.n_old)};
    if (there.size() > 0)
      read_parameter(tensors, config, old, {old.shape, 0, {there}}, out, stream);
    fill_new_rows(tensors[0], parameter, config.tied_head, tokens, fresh,
                  out + there.size() * columns);
    out += rows.size() * columns;
  }
}

std::vector<KeptTensor> load_tensors(const TensorSource& source, const std::string& origin,
                                     Parameters& parameters, const ModelConfig& config,
                                     Stream& stream, const LoadOptions& options) {
  const std::vector<Parameter> all = parameters_of(config);
  std::vector<float> wide;
  std::vector<KeptTensor> kept;
  for (LocalParameter& p : parameters.list()) {
    const Parameter* stands_for = &p.info;
    if (!p.info.tied_to.empty())
      stands_for = &*std::find_if(all.begin(), all.end(),
                                  [&](const Parameter& q) { return q.name == p.info.tied_to; });
    const bool grows = options.new_tokens.n_old > 0 && is_by_token(*stands_for);
    const Parameter stored =
        grows ? with_tokens(*stands_for, options.new_tokens.n_old) : *stands_for;
    KeptTensor absent;
    const std::vector<StoredTensor> tensors =
        find_parameter(source, config, stored, origin, options.missing, &absent);
    if (tensors.empty()) kept.push_back(absent);
    if (tensors.empty() || p.weight.elems() == 0) continue;
    WideWrite write(p.weight, wide);
    float* out = write.wide().as<float>();
    if (grows)
      read_with_new_rows(tensors, config, *stands_for, p.slice, options.new_tokens, out, stream);
    else
      read_parameter(tensors, config, *stands_for, p.slice, out, stream);
    write.finish(fmt::format("{} of {}", tensors[0].name, tensors[0].file), stream);
  }
  parameters.refresh_bf16(stream);
  return kept;
}

// Of the names, types and shapes of the model's tensors, and of some elements of each.
std::uint64_t sampled_checksum(const TensorSource& source, const ModelConfig& config) {
  constexpr std::int64_t kSampled = 32;
  const Family& row = family(config.family);
  std::uint64_t sum = source.n_tensors(), place = 0;
  std::vector<float> values(kSampled);
  for (const StoredPart& part : stored_parts(config)) {
    const auto tensor = find_tensor(source, row, part.name);
    ++place;
    if (!tensor) continue;
    sum += element_checksum(
        place, text_checksum(fmt::format("{} {} {}", tensor->name, dtype_name(tensor->dtype),
                                         tensor->shape.str())));
    const std::int64_t n = std::min(kSampled, tensor->shape.elems()),
                       begin = (tensor->shape.elems() - n) / 2 / 256 * 256;
    read_elements(*tensor, begin, n, values.data());
    for (std::int64_t i = 0; i < n; ++i)
      sum += element_checksum(place << 32 | static_cast<std::uint64_t>(i),
                              std::bit_cast<std::uint32_t>(values[static_cast<std::size_t>(i)]));
  }
  return sum;
}

// How a number is stored that is not in a block.
std::optional<DType> plain_dtype(const std::string& format) {
  for (const DType d : {DType::f32, DType::bf16, DType::f16, DType::f64})
    if (format == dtype_name(d)) return d;
  return std::nullopt;
}

class HfWeights : public WeightSource {
 public:
  explicit HfWeights(const std::filesystem::path& path)
      : path_(path.string()), tensors_(open_tensors(path)) {}

  std::vector<KeptTensor> load(const Context& ctx, Parameters& parameters,
                               const ModelConfig& config,
                               const LoadOptions& options) const override {
    std::vector<KeptTensor> kept;
    throw_together(ctx.grid.world(), failure_of([&] {
                     kept = load_tensors(*tensors_, path_, parameters, config, ctx.stream, options);
                   }),
                   ctx.stream);
    return kept;
  }

  void check(const ModelConfig& config) const override {
    for (const Parameter& p : parameters_of(config))
      if (p.tied_to.empty()) find_parameter(*tensors_, config, p, path_);
  }

  std::vector<float> read(const Parameter& p, const ModelConfig& config, Stream& stream) override {
    std::vector<float> whole(static_cast<std::size_t>(p.shape.elems()));
    read_parameter(find_parameter(*tensors_, config, p, path_), config, p, {p.shape, -1, {}},
                   whole.data(), stream);
    return whole;
  }

  DType dtype(const StoredPart& part, const ModelConfig& config) const override {
    const DType d = find_parameter(*tensors_, config, part.parameter, path_)[part.part].dtype;
    return d == DType::bf16 || d == DType::f16 ? d : DType::f32;
  }

  std::vector<CarriedTensor> carried(const ModelConfig& config) const override {
    return carried_tensors(config, tensors_.get());
  }
  std::size_t n_tensors() const override { return tensors_->n_tensors(); }
  std::string format() const override { return stored_format(*tensors_); }

  std::int64_t bytes(const ModelConfig& config) const override {
    const std::optional<DType> plain = plain_dtype(format());
    if (tensors_->holds_the_model_alone() || !plain) return stored_bytes(*tensors_);
    return count_parameters(config) * static_cast<std::int64_t>(dtype_bytes(*plain));
  }

  std::uint64_t checksum(const ModelConfig& config) const override {
    return sampled_checksum(*tensors_, config);
  }

  std::string advice() const override {
    return is_torch_folder(path_) ? "reading pytorch_model.bin; `weft convert` makes safetensors "
                                    "of it, which open faster"
                                  : "";
  }

 private:
  std::string path_;
  std::unique_ptr<TensorSource> tensors_;
};

}  // namespace

std::unique_ptr<WeightSource> open_hf_weights(const std::filesystem::path& path) {
  return std::make_unique<HfWeights>(path);
}

std::vector<KeptTensor> load_hf_weights(Parameters& parameters, const ModelConfig& config,
                                        const std::filesystem::path& path, Stream& stream,
                                        const LoadOptions& options) {
  return load_tensors(*open_tensors(path), path.string(), parameters, config, stream, options);
}

}  // namespace weft
