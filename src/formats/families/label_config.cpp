#include "formats/families/label_config.h"

#include <algorithm>
#include <utility>

#include "io/label_names.h"

namespace weft {

void read_labels(const JsonReader& json, ModelConfig& c) {
  if (std::vector<std::string> names = read_label_names(json); !names.empty()) {
    c.n_labels = static_cast<std::int64_t>(names.size());
    c.labels = std::move(names);
  } else {
    c.n_labels = json.integer("num_labels", 1, 1 << 20, 2);
  }
  const std::string problem = read_problem_type(json);
  if (problem.empty())
    c.problem = c.n_labels == 1 ? Problem::regression : Problem::single_label;
  else
    c.problem = static_cast<Problem>(
        std::find(std::begin(kProblemTypes), std::end(kProblemTypes), problem) - kProblemTypes);
}

void write_labels(const ModelConfig& c, Json& json) {
  if (!c.has_label_head()) return;
  Json from = Json::object();
  for (std::size_t i = 0; i < c.labels.size(); ++i) from[c.labels[i]] = i;
  json["id2label"] = label_names_json(c.labels);
  json["label2id"] = std::move(from);
  if (json.contains("num_labels"))
    json["num_labels"] = c.n_labels;  // files of old: the two must not disagree
  if (c.head != HeadKind::classify) return;
  const bool plain = c.problem == (c.n_labels == 1 ? Problem::regression : Problem::single_label);
  if (!plain || json.contains("problem_type"))
    json["problem_type"] = kProblemTypes[static_cast<std::size_t>(c.problem)];
}

}  // namespace weft
