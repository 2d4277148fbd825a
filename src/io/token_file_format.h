// How a token file is laid out: its formats, the names in it, and its two texts of JSON. Of io/
// alone.
#pragma once

#include <string>

#include "io/json.h"
#include "io/token_file.h"

namespace weft::token_file {

inline constexpr std::int64_t kFormat = 1, kFormatOfTexts = 2;
inline constexpr const char* kTokens = "/tokens";
inline constexpr const char* kOffsets = "/document_offsets";
inline constexpr const char* kTokenizer = "/tokenizer";
inline constexpr const char* kBegin = "begin_tokens";
inline constexpr const char* kTrain = "train_tokens";
inline constexpr const char* kWrapping = "/wrapping";
inline constexpr const char* kSecond = "/second_offsets";
inline constexpr const char* kProblem = "/problem";
inline constexpr const char* kLabels = "/labels";
inline constexpr const char* kTargets = "/targets";

std::int64_t format_of(const std::string& task);

OrderedJson to_json(const Wrapping& wrapping);
OrderedJson to_json(const LabelKind& kind);
// UserErrors name `origin` and what is damaged.
Wrapping wrapping_from(const Json& json, std::int64_t vocab_size, const std::string& origin);
LabelKind label_kind_from(const Json& json, const std::string& origin);

}  // namespace weft::token_file
