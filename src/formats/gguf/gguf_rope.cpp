#include "formats/gguf/gguf_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/check.h"
#include "core/short_decimal.h"

namespace weft {
namespace {

constexpr std::int64_t kMany = 1 << 26;

// Half a head of factors, or nothing where the tensor is absent.
std::vector<double> factors_in(const RopeSource& source, const std::string& name) {
  const StoredTensor* tensor = source.file.find(name);
  if (!tensor) return {};
  CHECK_USER(
      tensor->shape.rank() == 1 && tensor->shape[0] >= 1 && tensor->shape[0] <= source.head_dim / 2,
      "{}: tensor {} is {}; it must hold a factor for each of the head's {} frequencies",
      tensor->file, name, tensor->shape.str(), source.head_dim / 2);
  std::vector<float> values(static_cast<std::size_t>(tensor->shape[0]));
  read_elements(*tensor, 0, tensor->shape[0], values.data());
  std::vector<double> factors;
  for (const float x : values) {
    CHECK_USER(std::isfinite(x) && x > 0, "{}: tensor {} holds {}; factors must be above 0",
               tensor->file, name, x);
    factors.push_back(short_decimal(x));
  }
  return factors;
}

struct Llama3 {
  double factor, low, high, original;
};

// Turns per original context; the converter's (and transformers') formula: 1 below low's
// wavelength, `factor` above high's, between them a line.
double llama3_factor(const Llama3& s, double frequency) {
  const double turns = s.original * frequency / (2 * std::numbers::pi);
  if (turns > s.high) return 1;
  if (turns < s.low) return s.factor;
  const double smooth = (turns - s.low) / (s.high - s.low);
  return 1 / ((1 - smooth) / s.factor + smooth);
}

// Only low / original and high / original can be seen in the factors, so low is taken to be 1, as
// in every model published.
Json llama3_of(const std::vector<double>& factors, double theta) {
  const double factor = *std::max_element(factors.begin(), factors.end());
  if (factor <= 1) return nullptr;
  const auto n = static_cast<double>(factors.size());
  const auto frequency = [&](std::size_t i) {
    return std::pow(theta, -static_cast<double>(i) / n);
  };
  std::vector<Llama3> guesses = {{factor, 1, 4, 8192}};
  // smooth = a frequency + b at two factors between the ends: a = original / (2 pi (high - low)), b
  // = -low / (high - low)
  std::vector<std::size_t> between;
  for (std::size_t i = 0; i < factors.size(); ++i)
    if (factors[i] > 1 && factors[i] < factor) between.push_back(i);
  if (between.size() >= 2) {
    const auto smooth = [&](std::size_t i) {
      return (1 / factors[i] - 1 / factor) / (1 - 1 / factor);
    };
    const std::size_t i = between.front(), k = between.back();
    const double a = (smooth(i) - smooth(k)) / (frequency(i) - frequency(k)),
                 b = smooth(i) - a * frequency(i);
    const double span = -1 / b;
    guesses.push_back({factor, 1, std::round((1 + span) * 100) / 100,
                       std::round(a * 2 * std::numbers::pi * span)});
  }
  for (const Llama3& guess : guesses) {
    bool fits = std::isfinite(guess.high) && guess.high > guess.low && guess.original >= 1 &&
                guess.original <= static_cast<double>(kMany);
    for (std::size_t i = 0; fits && i < factors.size(); ++i)
      fits = std::abs(llama3_factor(guess, frequency(i)) - factors[i]) <= 1e-5 * factors[i];
    if (fits)
      return {{"rope_type", "llama3"},
              {"factor", guess.factor},
              {"low_freq_factor", guess.low},
              {"high_freq_factor", guess.high},
              {"original_max_position_embeddings", static_cast<std::int64_t>(guess.original)}};
  }
  return nullptr;
}

}  // namespace

Json rope_factors_of_gguf(const RopeSource& source) {
  const std::vector<double> factors = factors_in(source, "rope_freqs.weight");
  return factors.empty() ? Json() : Json(factors);
}

Json rope_scaling_of_gguf(const RopeSource& source) {
  const JsonReader json(source.file.metadata(), source.file.file());
  const auto key = [&](const char* name) { return source.architecture + ".rope." + name; };
  const std::vector<double> long_factors = factors_in(source, "rope_factors_long.weight"),
                            short_factors = factors_in(source, "rope_factors_short.weight");
  CHECK_USER(long_factors.size() == short_factors.size(),
             "{}: rope_factors_long.weight has {} factors and rope_factors_short.weight {}; they "
             "must be as many",
             json.origin(), long_factors.size(), short_factors.size());
  if (!long_factors.empty())
    return {
        {"rope_type", "longrope"}, {"long_factor", long_factors}, {"short_factor", short_factors}};
  if (const std::vector<double> factors = factors_in(source, "rope_freqs.weight"); !factors.empty())
    return llama3_of(factors, source.theta);

  const std::string type = json.string(
      key("scaling.type"),
      json.has(key("scale_linear")) || json.has(key("scaling.factor")) ? "linear" : "none");
  const double factor = json.number(key("scaling.factor"), 1e-6, 1e9,
                                    json.number(key("scale_linear"), 1e-6, 1e9, 1.0));
  if (type == "none" || (type == "linear" && factor == 1)) return nullptr;
  if (type == "linear") return {{"rope_type", "linear"}, {"factor", factor}};
  CHECK_USER(type == "yarn", "{}: {} is '{}'; allowed: none, linear, yarn", json.origin(),
             key("scaling.type"), type);
  Json scaling = {{"rope_type", "yarn"}, {"factor", factor}};
  if (json.has(key("scaling.original_context_length")))
    scaling["original_max_position_embeddings"] =
        json.integer(key("scaling.original_context_length"), 1, kMany);
  // ggml multiplies what follows from the factor by attn_factor; attention_factor takes its place.
  if (const double by = json.number(key("scaling.attn_factor"), 0, 1e9, 1); by != 1)
    scaling["attention_factor"] = by * (0.1 * std::log(factor) + 1);
  constexpr std::pair<const char*, const char*> kNumbers[] = {
      {"attention_factor", "scaling.yarn_attn_factor"},
      {"beta_fast", "scaling.yarn_beta_fast"},
      {"beta_slow", "scaling.yarn_beta_slow"}};
  for (const auto& [hf, gguf] : kNumbers)
    if (json.has(key(gguf))) scaling[hf] = json.number(key(gguf), 0, 1e9, 0);
  return scaling;
}

}  // namespace weft
