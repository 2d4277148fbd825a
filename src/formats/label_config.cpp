#include "formats/label_config.h"

#include "core/check.h"

namespace weft {

void read_labels(const JsonReader& json, ModelConfig& c) {
  const Json& all = json.json();
  if (all.contains("id2label") && all["id2label"].is_object() && !all["id2label"].empty()) {
    c.labels.assign(all["id2label"].size(), "");
    for (const auto& [id, label] : all["id2label"].items()) {
      const bool number =
          !id.empty() && id.size() < 9 && id.find_first_not_of("0123456789") == std::string::npos;
      CHECK_USER(number && label.is_string() && std::stoul(id) < c.labels.size(),
                 "{}: id2label maps '{}' to {}; allowed: ids 0 to {}, each to a string",
                 json.origin(), id, label.dump().substr(0, 60), c.labels.size() - 1);
      c.labels[std::stoul(id)] = label.get<std::string>();
    }
    c.n_labels = static_cast<std::int64_t>(c.labels.size());
  } else {
    c.n_labels = json.integer("num_labels", 1, 1 << 20, 2);
  }
  const std::string problem = json.string("problem_type", "");
  if (problem == "regression" || (problem.empty() && c.n_labels == 1))
    c.problem = Problem::regression;
  else if (problem == "multi_label_classification")
    c.problem = Problem::multi_label;
  else if (problem.empty() || problem == "single_label_classification")
    c.problem = Problem::single_label;
  else
    user_error(
        "{}: problem_type is '{}'; allowed: regression, single_label_classification, "
        "multi_label_classification",
        json.origin(), problem);
}

void write_labels(const ModelConfig& c, Json& json) {
  if (!c.has_label_head()) return;
  Json to = Json::object(), from = Json::object();
  for (std::size_t i = 0; i < c.labels.size(); ++i) {
    to[std::to_string(i)] = c.labels[i];
    from[c.labels[i]] = i;
  }
  json["id2label"] = std::move(to);
  json["label2id"] = std::move(from);
  if (json.contains("num_labels"))
    json["num_labels"] = c.n_labels;  // files of old: the two must not disagree
  if (c.head != HeadKind::classify) return;
  const char* names[] = {"regression", "single_label_classification", "multi_label_classification"};
  const bool plain = c.problem == (c.n_labels == 1 ? Problem::regression : Problem::single_label);
  if (!plain || json.contains("problem_type"))
    json["problem_type"] = names[static_cast<std::size_t>(c.problem)];
}

}  // namespace weft
