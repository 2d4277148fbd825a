// Labels as a config.json says them, which a token file says too: problem_type, and id2label, an
// object of numbers as strings.
#pragma once

#include <string>
#include <vector>

#include "io/json.h"

namespace weft {

// In the order of model/config.h's Problem.
inline constexpr const char* kProblemTypes[] = {"regression", "single_label_classification",
                                                "multi_label_classification"};
// One of these; "" where the object has none. UserError: another one.
std::string read_problem_type(const JsonReader& json);

// Names by number; none where the object has no id2label or an empty one. UserError where it does
// not name each of 0 to n - 1, or more than 2^20.
std::vector<std::string> read_label_names(const JsonReader& json);
OrderedJson label_names_json(const std::vector<std::string>& names);

}  // namespace weft
