// transformers' logits warpers that the kernels do not know: what sampling draws from is cut on
// the host.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace weft {

// Reusable buffers of one vocabulary. Scores are (V), one of which at least is above -inf; what is
// cut becomes -inf. `keep`: so many of the likeliest stay.
class Warpers {
 public:
  // Keeps the likeliest tokens whose terms of the entropy sum to this share of it, of the hundred
  // likeliest.
  void keep_top_h(std::span<float> scores, double share);
  // Keeps the tokens whose surprise is nearest the entropy, until they hold the mass, and those as
  // near as the last of them (Meister et al. 2022; transformers' reading of it).
  void keep_typical(std::span<float> scores, double mass, std::size_t keep);
  // Cuts what is less likely than epsilon; than the lesser of eta and sqrt(eta) e^-entropy (Hewitt
  // et al. 2022).
  void cut_below_epsilon(std::span<float> scores, double epsilon, std::size_t keep);
  void cut_below_eta(std::span<float> scores, double eta, std::size_t keep);

  // Softmax of the scores (V).
  std::span<const double> probabilities(std::span<const float> scores);

 private:
  double entropy() const;  // of the probabilities

  std::vector<double> probabilities_, distance_;
  std::vector<float> sorted_;
  std::vector<std::int32_t> order_;
};

}  // namespace weft
