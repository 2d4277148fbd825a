#include "model/rope.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace weft {
namespace {

// Bands by wavelength: the short ones stay, the long ones are stretched, those between are blended
// (Llama 3.1).
float llama3(const Rope& r, float frequency) {
  const auto context = static_cast<double>(r.original_context);
  const float wavelength = static_cast<float>(2 * M_PI) / frequency;
  const auto longest = static_cast<float>(context / r.low_freq_factor),
             shortest = static_cast<float>(context / r.high_freq_factor);
  const auto factor = static_cast<float>(r.factor);
  if (wavelength > longest) return frequency / factor;
  if (wavelength < shortest) return frequency;
  const auto low = static_cast<float>(r.low_freq_factor),
             high = static_cast<float>(r.high_freq_factor);
  const float smooth = (static_cast<float>(context) / wavelength - low) / (high - low);
  return (1 - smooth) * frequency / factor + smooth * frequency;
}

// YaRN (Peng et al. 2023): a ramp over the pairs from keeping to stretching. `powers`:
// theta^(2i/P). In float32 and in transformers' order, so that the bits are the same.
std::vector<float> yarn(const Rope& r, const std::vector<float>& powers) {
  const auto dims = static_cast<double>(r.dims), context = static_cast<double>(r.original_context);
  const auto pair_of = [&](double turns) {
    return dims * std::log(context / (turns * 2 * M_PI)) / (2 * std::log(r.theta));
  };
  double low = pair_of(r.beta_fast), high = pair_of(r.beta_slow);
  if (r.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1);
  if (low == high) high += 0.001;
  std::vector<float> frequencies;
  for (std::size_t i = 0; i < powers.size(); ++i) {
    const float ramp = std::clamp((static_cast<float>(i) - static_cast<float>(low)) /
                                      static_cast<float>(high - low),
                                  0.0f, 1.0f),
                keeps = 1 - ramp;
    frequencies.push_back(1.0f / (static_cast<float>(r.factor) * powers[i]) * (1 - keeps) +
                          1.0f / powers[i] * keeps);
  }
  return frequencies;
}

}  // namespace

std::vector<float> rope_frequencies(const Rope& r, std::int64_t length) {
  double theta = r.theta;
  const auto dims = static_cast<double>(r.dims);
  if (r.scaling == RopeScaling::dynamic && r.dims > 2) {
    const auto begins = static_cast<double>(r.original_context),
               n = std::max(static_cast<double>(length), begins);
    theta *= std::pow(r.factor * n / begins - (r.factor - 1), dims / (dims - 2));
  }
  const std::vector<double>& factors =
      r.scaling == RopeScaling::longrope && length > r.original_context ? r.long_factors
                                                                        : r.short_factors;
  const bool by_pair = r.scaling == RopeScaling::longrope || r.scaling == RopeScaling::factors;
  std::vector<float> list, powers;
  for (std::int64_t i = 0; i < r.dims / 2; ++i) {
    const auto power = static_cast<float>(
        std::pow(theta, static_cast<double>(static_cast<float>(2 * i) / static_cast<float>(dims))));
    powers.push_back(power);
    float f = 1.0f / power;
    if (by_pair)
      f = 1.0f / (static_cast<float>(factors[static_cast<std::size_t>(i)]) * power);
    else if (r.scaling == RopeScaling::linear)
      f /= static_cast<float>(r.factor);
    else if (r.scaling == RopeScaling::llama3)
      f = llama3(r, f);
    list.push_back(f);
  }
  return r.scaling == RopeScaling::yarn ? yarn(r, powers) : list;
}

int rope_regime(const ModelConfig& c, std::int64_t length) {
  const bool rereads =
      c.positions == Positions::rope && c.rope.rereads && c.rope.scaling == RopeScaling::longrope;
  return rereads && length > c.rope.original_context ? 1 : 0;
}

void fill_rope_row(float* row, std::int64_t position, std::span<const float> frequencies,
                   double attention_factor) {
  const std::size_t half = frequencies.size();
  for (std::size_t i = 0; i < half; ++i) {
    const float angle = static_cast<float>(position) * frequencies[i];
    row[i] = static_cast<float>(std::cos(static_cast<double>(angle)) * attention_factor);
    row[half + i] = static_cast<float>(std::sin(static_cast<double>(angle)) * attention_factor);
  }
}

}  // namespace weft
