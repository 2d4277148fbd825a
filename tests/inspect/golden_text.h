// The small models of every family on a grid, and what the reference's attention did with a text
// (tests/data/attention.json, by make_attention.py).
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "formats/families/families.h"
#include "formats/hf_weights.h"
#include "inspect/attention_capture.h"
#include "io/json.h"
#include "tests/held_model.h"
#include "tests/mpi_main.h"

namespace weft::test {

struct GoldenText {
  std::string model;
  std::filesystem::path dir;
  ModelConfig config;
  Json golden;
  std::vector<std::int32_t> ids, types;

  explicit GoldenText(const std::string& name)
      : model(name),
        dir(data_dir("families") / name),
        config(read_hf_config(dir)),
        golden(all()["models"][name]),
        ids(golden["ids"].get<std::vector<std::int32_t>>()) {
    if (golden.contains("type_ids")) golden["type_ids"].get_to(types);
  }
  std::int64_t T() const { return static_cast<std::int64_t>(ids.size()); }
  static const Json& all() {
    static const Json json = read_json_object(data_dir() / "attention.json");
    return json;
  }
  static std::vector<std::string> models() {
    std::vector<std::string> names;
    for (const auto& [name, golden] : all()["models"].items()) names.push_back(name);
    return names;
  }
  // All numbers of a nested list, in order.
  std::vector<double> values(const std::string& key) const {
    std::vector<double> flat;
    const std::function<void(const Json&)> add = [&](const Json& list) {
      if (list.is_number()) return flat.push_back(list.get<double>());
      for (const Json& e : list) add(e);
    };
    add(golden[key]);
    return flat;
  }
};

struct GoldenModel : HeldModel {
  GoldenModel(std::unique_ptr<Communicator> world, GridShape shape, const GoldenText& text)
      : HeldModel(std::move(world), shape, text.config, ParameterUse::inference) {
    load_hf_weights(parameters, config, text.dir, stream);
    parameters.to_panels(stream);  // as commands do
  }
};

inline std::vector<std::int64_t> all_of(std::int64_t n) {
  std::vector<std::int64_t> list;
  for (std::int64_t i = 0; i < n; ++i) list.push_back(i);
  return list;
}

// ‖a - b‖ / ‖b‖
inline double relative_norm(const std::vector<float>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / std::max(size, 1e-60));
}

inline std::vector<float> floats(ConstView x) { return {x.as<float>(), x.as<float>() + x.elems()}; }

}  // namespace weft::test
