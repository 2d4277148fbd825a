#include "io/token_file_format.h"

#include "core/check.h"

namespace weft::token_file {

std::int64_t format_of(const std::string& task) { return task == "clm" ? kFormat : kFormatOfTexts; }

OrderedJson to_json(const Wrapping& w) {
  const auto piece = [](const Wrapping::Piece& p) {
    return OrderedJson({{"ids", p.ids}, {"types", p.types}});
  };
  return {{"before", piece(w.before)},
          {"between", piece(w.between)},
          {"behind", piece(w.behind)},
          {"first_type", w.first_type},
          {"second_type", w.second_type}};
}

Wrapping wrapping_from(const Json& json, std::int64_t vocab_size, const std::string& origin) {
  const auto piece = [&](const char* key) {
    Wrapping::Piece p;
    for (const char* list : {"ids", "types"}) {
      const Json values =
          json.contains(key) && json[key].is_object() ? json[key].value(list, Json()) : Json();
      CHECK_USER(values.is_array() && values.size() <= 1024,
                 "{}: {} has no list of {}; the file is damaged", origin, key, list);
      for (const Json& v : values) {
        const bool fits = v.is_number_integer() && v.get<std::int64_t>() >= 0 &&
                          v.get<std::int64_t>() < (list[0] == 'i' ? vocab_size : 1 << 20);
        CHECK_USER(fits, "{}: {} holds {}; the file is damaged", origin, list,
                   v.dump().substr(0, 40));
        (list[0] == 'i' ? p.ids : p.types).push_back(v.get<std::int32_t>());
      }
    }
    CHECK_USER(p.ids.size() == p.types.size(),
               "{}: {} has {} ids and {} types; the file is damaged", origin, key, p.ids.size(),
               p.types.size());
    return p;
  };
  const JsonReader reader(json, origin);
  return {piece("before"), piece("between"), piece("behind"),
          static_cast<std::int32_t>(reader.integer("first_type", 0, 1 << 20)),
          static_cast<std::int32_t>(reader.integer("second_type", 0, 1 << 20))};
}

OrderedJson to_json(const LabelKind& kind) {
  OrderedJson names = OrderedJson::object();
  for (std::size_t i = 0; i < kind.names.size(); ++i) names[std::to_string(i)] = kind.names[i];
  return {{"problem_type", kind.problem}, {"id2label", std::move(names)}};
}

constexpr std::int64_t kMaxLabels = 1 << 20;

LabelKind label_kind_from(const Json& json, const std::string& origin) {
  LabelKind kind;
  kind.problem = JsonReader(json, origin).string("problem_type", "");
  CHECK_USER(kind.problem == "single_label_classification" ||
                 kind.problem == "multi_label_classification" || kind.problem == "regression",
             "{}: problem_type is '{}'; allowed: single_label_classification, "
             "multi_label_classification, regression",
             origin, kind.problem.substr(0, 60));
  const Json names = json.value("id2label", Json());
  CHECK_USER(
      names.is_object() && !names.empty() && names.size() <= static_cast<std::size_t>(kMaxLabels),
      "{}: id2label does not name 1 to {} labels", origin, kMaxLabels);
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string id = std::to_string(i);
    CHECK_USER(names.contains(id) && names[id].is_string(), "{}: id2label has no name for {}",
               origin, id);
    kind.names.push_back(names[id].get<std::string>());
  }
  return kind;
}

}  // namespace weft::token_file
