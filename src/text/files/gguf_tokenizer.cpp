#include "text/files/gguf_tokenizer.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/check.h"
#include "core/log.h"
#include "text/files/gguf_pre_tokenizer.h"
#include "text/files/gguf_vocabulary.h"

namespace weft {
namespace {

constexpr const char* kSpace = "\u2581";  // SentencePiece's mark of a space

OrderedJson replace(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}
OrderedJson typed(const char* type) { return {{"type", type}}; }

std::string token_of(const GgufVocabulary& v, std::int64_t id) {
  return v.tokens[static_cast<std::size_t>(id)];
}

OrderedJson vocab_of(const GgufVocabulary& v) {
  OrderedJson vocab = OrderedJson::object();
  std::vector<OrderedJson::object_t::value_type>& list =
      vocab.get_ref<OrderedJson::object_t&>();  // an ordered object searches at every key
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.tokens[i].empty()) continue;
    CHECK_USER(seen.insert(v.tokens[i]).second, "{}: two of tokenizer.ggml.tokens are '{}'",
               v.origin, v.tokens[i]);
    list.emplace_back(v.tokens[i], i);
  }
  return vocab;
}

// Control tokens are special, user-defined ones are not; both stand whole in the text. `rstrip`:
// those that swallow the blanks after them.
OrderedJson added_tokens(const GgufVocabulary& v, bool rstrip) {
  OrderedJson list = OrderedJson::array();
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    const bool special = v.is(i, GgufTokenType::control) || v.is(i, GgufTokenType::unknown);
    const std::string& token = v.tokens[i];
    if (token.empty() || !(special || v.is(i, GgufTokenType::user_defined))) continue;
    if (!special && token.find_first_not_of(kSpace) == std::string::npos)
      continue;  // runs of spaces come of the merges, not of the raw text
    const bool strips = rstrip && token != "<unk>" && token != "<s>" && token != "<|endoftext|>";
    list.push_back({{"id", i},
                    {"content", token},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", strips},
                    {"normalized", false},
                    {"special", special}});
  }
  return list;
}

OrderedJson piece(const char* id, int type) {
  return {{"Sequence", {{"id", id}, {"type_id", type}}}};
}
OrderedJson special(const std::string& token, int type) {
  return {{"SpecialToken", {{"id", token}, {"type_id", type}}}};
}

// [begin] A [end], and for pairs [begin] A [end] then [between] B [end]; null where nothing is
// added.
OrderedJson template_of(const GgufVocabulary& v, std::optional<std::int64_t> begin,
                        std::optional<std::int64_t> end, std::optional<std::int64_t> between) {
  if (!begin && !end) return nullptr;
  OrderedJson single = OrderedJson::array(), pair, tokens = OrderedJson::object();
  const auto put = [&](OrderedJson& list, std::optional<std::int64_t> id, int type) {
    if (!id) return;
    const std::string token = token_of(v, *id);
    CHECK_USER(!token.empty(), "{}: token {} opens or closes texts, but is empty", v.origin, *id);
    list.push_back(special(token, type));
    tokens[token] = {{"id", token}, {"ids", {*id}}, {"tokens", {token}}};
  };
  put(single, begin, 0);
  single.push_back(piece("A", 0));
  put(single, end, 0);
  pair = single;
  put(pair, between, 1);
  pair.push_back(piece("B", 1));
  put(pair, end, 1);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", tokens}};
}

OrderedJson frame(const GgufVocabulary& v, OrderedJson normalizer, OrderedJson pre,
                  OrderedJson post, OrderedJson decoder, OrderedJson model, bool rstrip = false) {
  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = json["padding"] = nullptr;
  json["added_tokens"] = added_tokens(v, rstrip);
  json["normalizer"] = std::move(normalizer);
  json["pre_tokenizer"] = std::move(pre);
  json["post_processor"] = std::move(post);
  json["decoder"] = std::move(decoder);
  json["model"] = std::move(model);
  return json;
}

OrderedJson bpe(const GgufVocabulary& v, OrderedJson unk, bool fallback, bool ignore_merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", std::move(unk)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", fallback},
          {"byte_fallback", fallback},
          {"ignore_merges", ignore_merges},
          {"vocab", vocab_of(v)},
          {"merges", OrderedJson::array()}};
}

// Begin and end tokens that are put around a text.
std::optional<std::int64_t> if_added(const Json& metadata, const GgufVocabulary& v,
                                     const char* role, std::optional<std::int64_t> id,
                                     bool otherwise) {
  const std::string flag = fmt::format("tokenizer.ggml.add_{}_token", role);
  const bool told = JsonReader(metadata, v.origin).has(flag);
  if (!JsonReader(metadata, v.origin).boolean(flag, otherwise)) return std::nullopt;
  CHECK_USER(id || !told, "{}: {} is true, but tokenizer.ggml.{}_token_id is missing", v.origin,
             flag, role);
  return id;
}

OrderedJson byte_level(const Json& metadata, const GgufVocabulary& v) {
  const JsonReader reader(metadata, v.origin);
  if (!reader.has("tokenizer.ggml.pre"))
    log_info(  // which the first rank alone says: all of them read the file
        "warning: {}: tokenizer.ggml.pre is missing; texts are cut into words as GPT-2's are, "
        "which "
        "is a guess: ids may differ from those the model learned",
        v.origin);
  const std::string name = reader.string("tokenizer.ggml.pre", "default");
  GgufPreTokenizer pre = gguf_pre_tokenizer(name, v.origin);
  const bool encloses = name == "roberta-bpe";  // <s> A </s> </s> B </s>
  OrderedJson model = bpe(v, nullptr, false, pre.ignore_merges);
  CHECK_USER(
      metadata.contains("tokenizer.ggml.merges") && metadata["tokenizer.ggml.merges"].is_array(),
      "{}: tokenizer.ggml.merges is missing or no list", v.origin);
  for (const Json& merge : metadata["tokenizer.ggml.merges"]) {
    CHECK_USER(merge.is_string(), "{}: tokenizer.ggml.merges holds {}; it must be text", v.origin,
               brief(merge, 40));
    model["merges"].push_back(merge.get_ref<const std::string&>());
  }
  const auto begin = if_added(metadata, v, "bos", v.bos, pre.add_bos || encloses),
             end = if_added(metadata, v, "eos", v.eos, encloses);
  return frame(v, std::move(pre.normalizer), std::move(pre.pre_tokenizer),
               template_of(v, begin, end, encloses ? end : begin),
               {{"type", "ByteLevel"},
                {"add_prefix_space", true},
                {"trim_offsets", true},
                {"use_regex", true}},
               std::move(model));
}

OrderedJson sentencepiece(const Json& metadata, GgufVocabulary v) {
  const JsonReader reader(metadata, v.origin);
  const std::string architecture = reader.string("general.architecture", "");
  for (std::string& token :
       v.tokens) {  // the converter spells runs of spaces, which are merged, as text
    if (token.size() < 2 || token.find_first_not_of(' ') != std::string::npos) continue;
    std::string marks;
    for (std::size_t i = 0; i < token.size(); ++i) marks += kSpace;
    if (std::find(v.tokens.begin(), v.tokens.end(), marks) == v.tokens.end()) token = marks;
  }
  std::optional<std::int64_t> unk = v.unk;
  std::size_t n_bytes = 0;
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    if (!unk && v.is(i, GgufTokenType::unknown)) unk = static_cast<std::int64_t>(i);
    n_bytes += v.is(i, GgufTokenType::byte);
  }
  CHECK_USER(
      unk || n_bytes == 256,
      "{}: tokenizer.ggml.unknown_token_id is missing, and there are tokens for {} of 256 bytes",
      v.origin, n_bytes);
  OrderedJson model =
      bpe(v, unk ? OrderedJson(token_of(v, *unk)) : OrderedJson(), n_bytes == 256, false);
  model["fuse_unk"] = true;
  for (const auto& [left, right] : merges_from_scores(v, architecture.starts_with("gemma")))
    model["merges"].push_back(left + " " + right);

  const bool prefix = reader.boolean("tokenizer.ggml.add_space_prefix", true);
  OrderedJson normalizer = replace(" ", kSpace);
  if (prefix)
    normalizer = {{"type", "Sequence"},
                  {"normalizers", {{{"type", "Prepend"}, {"prepend", kSpace}}, normalizer}}};
  OrderedJson decoders =
      OrderedJson::array({replace(kSpace, " "), typed("ByteFallback"), typed("Fuse")});
  if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  const auto begin = if_added(metadata, v, "bos", v.bos, true),
             end = if_added(metadata, v, "eos", v.eos, false);
  return frame(v, std::move(normalizer), nullptr, template_of(v, begin, end, begin),
               {{"type", "Sequence"}, {"decoders", decoders}}, std::move(model),
               architecture == "phi3");  // Phi-3's roles are followed by a line end that is theirs
}

// GGUF marks the beginnings of words where BERT marks their continuations.
OrderedJson wordpiece(GgufVocabulary v) {
  bool cased = false;
  const std::string mark = kSpace;
  for (std::size_t i = 0; i < v.tokens.size(); ++i) {
    std::string& token = v.tokens[i];
    if (token.empty() || v.is(i, GgufTokenType::control) || v.is(i, GgufTokenType::unknown))
      continue;
    const auto id = static_cast<std::int64_t>(i);
    const bool has_role = id == v.bos || id == v.eos || id == v.unk || id == v.sep || id == v.pad ||
                          id == v.cls || id == v.mask;
    if (token.starts_with(mark) && token != mark) {
      token.erase(0, mark.size());
      cased = cased || (!has_role && token.size() == 1 && token[0] >= 'A' && token[0] <= 'Z');
    } else if (!has_role && !(token.size() > 2 && token.starts_with("[") &&
                              token.ends_with("]"))) {  // older files leave [unused1] as it is
      token = "##" + token;
    }
  }
  const auto begin = v.cls ? v.cls : v.bos, end = v.sep ? v.sep : v.eos;
  CHECK_USER(begin && end && v.unk,
             "{}: tokenizer.ggml's bos (or cls), seperator (or eos) and unknown token ids must all "
             "be there",
             v.origin);
  OrderedJson model = {{"type", "WordPiece"},
                       {"unk_token", token_of(v, *v.unk)},
                       {"continuing_subword_prefix", "##"},
                       {"max_input_chars_per_word", 100},
                       {"vocab", vocab_of(v)}};
  // Whether the model is cased is not told; only the vocabulary of one that is has capital letters.
  OrderedJson normalizer = {{"type", "BertNormalizer"},
                            {"clean_text", true},
                            {"handle_chinese_chars", true},
                            {"strip_accents", nullptr},
                            {"lowercase", !cased}};
  return frame(v, std::move(normalizer), typed("BertPreTokenizer"),
               template_of(v, begin, end, std::nullopt),
               {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}, std::move(model));
}

}  // namespace

OrderedJson tokenizer_json_of_gguf(const Json& metadata, const std::string& origin) {
  GgufVocabulary v = read_gguf_vocabulary(metadata, origin);
  if (v.model == "gpt2") return byte_level(metadata, v);
  if (v.model == "llama") return sentencepiece(metadata, std::move(v));
  if (v.model == "bert") return wordpiece(std::move(v));
  user_error("{}: tokenizer.ggml.model is '{}'; allowed: gpt2, llama, bert", origin, v.model);
}

Json tokenizer_config_of_gguf(const Json& metadata, const std::string& origin) {
  const GgufVocabulary v = read_gguf_vocabulary(metadata, origin);
  const JsonReader reader(metadata, origin);
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false}};
  const std::pair<const char*, std::optional<std::int64_t>> roles[] = {
      {"bos_token", v.bos}, {"eos_token", v.eos}, {"unk_token", v.unk},  {"pad_token", v.pad},
      {"sep_token", v.sep}, {"cls_token", v.cls}, {"mask_token", v.mask}};
  for (const auto& [role, id] : roles)
    if (id && !token_of(v, *id).empty()) config[role] = token_of(v, *id);
  if (v.model == "bert" && !v.cls && v.bos) config["cls_token"] = token_of(v, *v.bos);
  for (const char* flag : {"add_bos_token", "add_eos_token"})
    if (const std::string key = fmt::format("tokenizer.ggml.{}", flag); reader.has(key))
      config[flag] = reader.boolean(key, false);
  if (const std::string text = reader.string("tokenizer.chat_template", ""); !text.empty())
    config["chat_template"] = text;
  return config;
}

}  // namespace weft
