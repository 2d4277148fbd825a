#include "text/files/gguf_vocabulary.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <tuple>

#include "core/check.h"
#include "core/utf8.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

constexpr std::int64_t kMaxTokens = 1 << 26;
constexpr std::size_t kMaxTokenBytes = 4096;  // all its cuts are tried

const Json& list_of(const Json& metadata, const std::string& key, const std::string& origin) {
  CHECK_USER(metadata.contains(key) && metadata[key].is_array(), "{}: {} is missing or no list",
             origin, key);
  return metadata[key];
}

// What converters fill the vocabulary up with to the size of the embedding: no tokenizer has them.
bool is_padding(const std::string& token) {
  return token.starts_with("[PAD") && token.ends_with("]") && token.size() > 5 &&
         token.find_first_not_of("0123456789", 4) == token.size() - 1;
}

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

GgufVocabulary read_gguf_vocabulary(const Json& metadata, const std::string& origin) {
  GgufVocabulary v;
  v.origin = origin;
  const JsonReader reader(metadata, origin);
  v.model = reader.string("tokenizer.ggml.model", "");
  CHECK_USER(!v.model.empty(), "{}: tokenizer.ggml.model is missing; the file has no tokenizer",
             origin);
  const Json& tokens = list_of(metadata, "tokenizer.ggml.tokens", origin);
  const std::size_t n = tokens.size();
  CHECK_USER(n > 0 && n <= static_cast<std::size_t>(kMaxTokens),
             "{}: tokenizer.ggml.tokens holds {} tokens; allowed: 1 to {}", origin, n, kMaxTokens);
  v.types.assign(n, GgufTokenType::normal);
  if (metadata.contains("tokenizer.ggml.token_type")) {
    const Json& types = list_of(metadata, "tokenizer.ggml.token_type", origin);
    CHECK_USER(types.size() == n, "{}: tokenizer.ggml.token_type holds {} types for {} tokens",
               origin, types.size(), n);
    for (std::size_t i = 0; i < n; ++i) {
      CHECK_USER(types[i].is_number_integer() && types[i] >= 0 && types[i] <= 6,
                 "{}: tokenizer.ggml.token_type of token {} is {}; allowed: 1 to 6", origin, i,
                 brief(types[i], 40));
      v.types[i] =
          types[i] == 0 ? GgufTokenType::normal : static_cast<GgufTokenType>(types[i].get<int>());
    }
  }
  if (metadata.contains("tokenizer.ggml.scores")) {
    const Json& scores = list_of(metadata, "tokenizer.ggml.scores", origin);
    CHECK_USER(scores.size() == n, "{}: tokenizer.ggml.scores holds {} scores for {} tokens",
               origin, scores.size(), n);
    for (std::size_t i = 0; i < n; ++i) {
      CHECK_USER(scores[i].is_number() && std::isfinite(scores[i].get<double>()),
                 "{}: tokenizer.ggml.scores of token {} is {}; it must be a number", origin, i,
                 brief(scores[i], 40));
      v.scores.push_back(scores[i].get<double>());
    }
  }
  std::unordered_map<std::string_view, std::size_t> seen;
  v.tokens.reserve(n);
  for (std::size_t i = 0; i < n; ++i) {
    CHECK_USER(tokens[i].is_string(), "{}: tokenizer.ggml.tokens of id {} is {}; it must be text",
               origin, i, brief(tokens[i], 40));
    const auto& token = tokens[i].get_ref<const std::string&>();
    CHECK_USER(token.size() <= kMaxTokenBytes,
               "{}: tokenizer.ggml.tokens of id {} has {} bytes; allowed: at most {}", origin, i,
               token.size(), kMaxTokenBytes);
    CHECK_USER(made_utf8(token) == token, "{}: tokenizer.ggml.tokens of id {} is not UTF-8", origin,
               i);
    v.tokens.push_back(v.types[i] == GgufTokenType::unused && is_padding(token) ? "" : token);
    if (const auto [at, is_new] = seen.try_emplace(token, i);
        !is_new) {  // a text can have one id: the last, as in llama.cpp
      v.tokens[at->second].clear();
      at->second = i;
    }
  }
  const auto id = [&](const char* role) -> std::optional<std::int64_t> {
    const std::string key = fmt::format("tokenizer.ggml.{}_token_id", role);
    if (!reader.has(key)) return std::nullopt;
    return reader.integer(key, 0, static_cast<std::int64_t>(n) - 1);
  };
  v.bos = id("bos");
  v.eos = id("eos");
  v.unk = id("unknown");
  v.sep = id("seperator");  // so spelled in GGUF
  v.pad = id("padding");
  v.cls = id("cls");
  v.mask = id("mask");
  return v;
}

std::vector<std::pair<std::string, std::string>> merges_from_scores(const GgufVocabulary& v,
                                                                    bool by_order) {
  CHECK_USER(by_order || !v.scores.empty(), "{}: tokenizer.ggml.scores is missing", v.origin);
  // Control, unknown, unused and byte tokens never come of merging text.
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t i = 0; i < v.tokens.size(); ++i)
    if (!v.tokens[i].empty() &&
        (v.is(i, GgufTokenType::normal) || v.is(i, GgufTokenType::user_defined)))
      ids[v.tokens[i]] = i;
  struct Cut {
    double score;
    std::size_t left_size, right_size, left, right;
  };
  std::vector<Cut> cuts;
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    const std::string& token = v.tokens[i];
    const auto own = ids.find(token);
    if (own == ids.end() || own->second != i) continue;
    const std::size_t first = cuts.size();
    for (std::size_t at = 1; at < token.size(); ++at) {
      if ((token[at] & 0xC0) == 0x80) continue;
      const std::string_view left = std::string_view(token).substr(0, at),
                             right = std::string_view(token).substr(at);
      const auto l = ids.find(left), r = ids.find(right);
      if (l == ids.end() || r == ids.end()) continue;
      cuts.push_back({by_order ? -static_cast<double>(i) : v.scores[i], characters(left),
                      characters(right), l->second, r->second});
    }
    std::sort(cuts.begin() + static_cast<std::ptrdiff_t>(first), cuts.end(),
              [](const Cut& a, const Cut& b) {
                return std::pair(a.left, a.right) < std::pair(b.left, b.right);
              });
  }
  std::stable_sort(cuts.begin(), cuts.end(), [](const Cut& a, const Cut& b) {
    return std::tuple(a.score, a.left_size, a.right_size) >
           std::tuple(b.score, b.left_size, b.right_size);
  });
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(cuts.size());
  for (const Cut& cut : cuts) merges.emplace_back(v.tokens[cut.left], v.tokens[cut.right]);
  return merges;
}

}  // namespace weft
