// Metrics against scikit-learn and scipy (tests/data/metrics.json, made by make_metrics.py): ties,
// absent classes and several columns included.
#include "train/metrics.h"

#include <gtest/gtest.h>

#include "io/json.h"
#include "src/io/files.h"

namespace weft {
namespace {

TEST(Metrics, AreThoseOfScikitLearnAndScipy) {
  std::size_t checked = 0;
  for (const Json& c : parse_json(read_text_file(WEFT_TEST_DATA "/metrics.json"))) {
    const auto n = c.at("n").get<std::int64_t>();
    const auto kind = c.at("kind").get<std::string>();
    Metrics metrics;
    if (kind == "classes") {
      metrics = class_metrics(c.at("predicted").get<std::vector<std::int32_t>>(),
                              c.at("actual").get<std::vector<std::int32_t>>(), n);
    } else {
      const auto predicted = c.at("predicted").get<std::vector<float>>(),
                 actual = c.at("actual").get<std::vector<float>>();
      metrics = kind == "sets" ? label_set_metrics(predicted, actual, n)
                               : number_metrics(predicted, actual, n);
    }
    ASSERT_EQ(metrics.size(), 3u);
    for (const auto& [name, value] : metrics)
      EXPECT_NEAR(value, c.at(name).get<double>(), 1e-6) << kind << " " << n << " " << name;
    ++checked;
  }
  EXPECT_EQ(checked, 7u);
}

}  // namespace
}  // namespace weft
