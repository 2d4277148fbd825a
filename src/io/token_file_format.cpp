#include "io/token_file_format.h"

#include "core/check.h"
#include "io/label_names.h"

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
        CHECK_USER(fits, "{}: {} holds {}; the file is damaged", origin, list, brief(v, 40));
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
  return {{"problem_type", kind.problem}, {"id2label", label_names_json(kind.names)}};
}

LabelKind label_kind_from(const Json& json, const std::string& origin) {
  const JsonReader reader(json, origin);
  LabelKind kind = {read_problem_type(reader), read_label_names(reader)};
  CHECK_USER(!kind.problem.empty(), "{}: problem_type is missing; the file is damaged", origin);
  CHECK_USER(!kind.names.empty(), "{}: id2label names no label; the file is damaged", origin);
  return kind;
}

}  // namespace weft::token_file
