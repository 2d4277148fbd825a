// How well predictions fit, as scikit-learn and scipy define it. Rows are samples.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace weft {

using Metrics = std::vector<std::pair<std::string, double>>;

// accuracy, f1 (of class 1 where there are two, else the mean over classes that occur), mcc
// (Matthews' correlation).
Metrics class_metrics(std::span<const std::int32_t> predicted, std::span<const std::int32_t> actual,
                      std::int64_t n_classes);
// accuracy (all labels of a sample right), f1_micro, f1_macro; (n, n_labels) of 0 and 1.
Metrics label_set_metrics(std::span<const float> predicted, std::span<const float> actual,
                          std::int64_t n_labels);
// mse, pearson, spearman (ties: mean ranks), each the mean over the columns; NaN where one is
// constant.
Metrics number_metrics(std::span<const float> predicted, std::span<const float> actual,
                       std::int64_t n_columns);

}  // namespace weft
