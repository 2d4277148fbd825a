// Parts that come with another branch: each is an error by name, but for what byte-level and character tokenizers need. Deleted at the merge.
#include "core/check.h"
#include "text/byte_level.h"
#include "text/tokenizer_impl.h"

namespace weft {
namespace {

class Joining final : public PostProcessor {
 public:
  explicit Joining(Json json) : json_(std::move(json)) {}
  std::int64_t n_added(bool) const override { return 0; }
  Encoding process(Encoding first, std::optional<Encoding> second, bool, std::string_view, std::string_view) const override {
    if (!second) return first;
    const auto join = [](auto& a, const auto& b) { a.insert(a.end(), b.begin(), b.end()); };
    join(first.ids, second->ids);
    join(first.type_ids, second->type_ids);
    join(first.offsets, second->offsets);
    join(first.added, second->added);
    join(first.mask, second->mask);
    return first;
  }
  OrderedJson to_json() const override { return OrderedJson::parse(json_.dump()); }

 private:
  Json json_;
};

class Plain final : public TokenDecoder {
 public:
  explicit Plain(Json json) : json_(std::move(json)) {}
  std::vector<std::string> chain(std::vector<std::string> tokens) const override {
    for (std::string& token : tokens) token = bytes_of_characters(token).value_or(token);
    return tokens;
  }
  OrderedJson to_json() const override { return OrderedJson::parse(json_.dump()); }

 private:
  Json json_;
};

[[noreturn]] void missing(const std::string& origin, const char* what) { user_error("{}: {} is not supported yet", origin, what); }

}  // namespace

std::unique_ptr<PostProcessor> read_post_processor(const Json& json, const std::string& origin) {
  const std::string type = json.is_null() ? "" : json.at("type").get<std::string>();
  const bool bare = type == "TemplateProcessing" && json.value("special_tokens", Json()).empty();
  if (!json.is_null() && type != "ByteLevel" && !bare) missing(origin, ("post_processor " + type).c_str());
  return std::make_unique<Joining>(json);
}
std::unique_ptr<TokenDecoder> read_token_decoder(const Json& json, const std::string& origin) {
  if (json.is_null()) return nullptr;
  const std::string type = json.at("type").get<std::string>();
  if (type != "ByteLevel" && json.value("decoders", Json()) != Json::parse(R"([{"type": "ByteFallback"}, {"type": "Fuse"}])"))
    missing(origin, ("decoder " + type).c_str());
  return std::make_unique<Plain>(json);
}
std::unique_ptr<TokenModel> read_wordpiece(const Json&, const std::string& origin) { missing(origin, "model WordPiece"); }
std::unique_ptr<TokenModel> read_unigram(const Json&, const std::string& origin) { missing(origin, "model Unigram"); }
std::unique_ptr<TokenModel> read_word_level(const Json&, const std::string& origin) { missing(origin, "model WordLevel"); }
std::unique_ptr<Normalizer> read_precompiled(const Json&, const std::string& origin) { missing(origin, "normalizer Precompiled"); }
Json tokenizer_json_of_sentencepiece(const std::filesystem::path& file) { missing(file.string(), "a SentencePiece model"); }

}  // namespace weft
