#include "text/files/sentencepiece_tokenizer.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_map>

#include "core/check.h"
#include "text/characters/charsmap.h"
#include "text/characters/unicode.h"
#include "text/files/sentencepiece_model.h"

namespace weft {
namespace {

constexpr const char* kSpace = "\xE2\x96\x81";  // ▁

// SentencePiece joins the two neighbours whose joined piece has the best score. As merges: every
// piece's ways to be cut in two, in order of score, then (as transformers' generate_merges) the
// shorter left part, in characters, first. `by_id`: all pieces, in order of ids.
OrderedJson merges_of(const SentencePieceModel& m, bool by_id) {
  std::unordered_map<std::string_view, std::size_t> ids;
  const auto counts = [&](std::size_t id) {
    return by_id || m.pieces[id].type == SentencePiece::kNormal;
  };
  for (std::size_t id = 0; id < m.pieces.size(); ++id)
    if (counts(id)) ids[m.pieces[id].text] = id;
  using Merge = std::tuple<double, std::size_t, std::size_t, std::string_view,
                           std::string_view>;  // minus score, id, left characters, parts
  std::vector<Merge> merges;
  for (std::size_t id = 0; id < m.pieces.size(); ++id) {
    if (!counts(id) || ids[m.pieces[id].text] != id) continue;
    const std::string_view text = m.pieces[id].text;
    std::size_t n_left = 0;
    for (std::size_t at = character_at(text, 0).bytes; at < text.size();
         at += character_at(text, at).bytes) {
      ++n_left;
      const std::string_view left = text.substr(0, at), right = text.substr(at);
      if (ids.contains(left) && ids.contains(right))
        merges.emplace_back(by_id ? 0 : -m.pieces[id].score, id, n_left, left, right);
    }
  }
  std::sort(merges.begin(), merges.end());
  OrderedJson list = OrderedJson::array();
  for (const auto& [score, id, n_left, left, right] : merges)
    list.push_back(OrderedJson::array({left, right}));
  return list;
}

OrderedJson vocab_json(const SentencePieceModel& m) {
  std::unordered_map<std::string_view, std::size_t> last;  // of equal pieces
  for (std::size_t id = 0; id < m.pieces.size(); ++id) last[m.pieces[id].text] = id;
  OrderedJson vocab = OrderedJson::object();
  for (std::size_t id = 0; id < m.pieces.size(); ++id)
    if (last[m.pieces[id].text] == id)
      vocab.get_ref<OrderedJson::object_t&>().emplace_back(m.pieces[id].text, id);
  return vocab;
}

OrderedJson bpe_json(const SentencePieceModel& m, OrderedJson unk, bool byte_fallback, bool by_id,
                     bool ignore_merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", std::move(unk)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", true},
          {"byte_fallback", byte_fallback},
          {"ignore_merges", ignore_merges},
          {"vocab", vocab_json(m)},
          {"merges", merges_of(m, by_id)}};
}

OrderedJson model_json(const SentencePieceModel& m) {
  if (m.model_type == 1) {
    OrderedJson vocab = OrderedJson::array();
    for (const SentencePiece& piece : m.pieces)
      vocab.push_back(OrderedJson::array({piece.text, piece.score}));
    return {{"type", "Unigram"},
            {"unk_id", m.unk_id},
            {"vocab", std::move(vocab)},
            {"byte_fallback", m.byte_fallback}};
  }
  const bool has_user_defined = std::any_of(
      m.pieces.begin(), m.pieces.end(),
      [](const SentencePiece& piece) { return piece.type == SentencePiece::kUserDefined; });
  return bpe_json(m, m.pieces[static_cast<std::size_t>(m.unk_id)].text, m.byte_fallback, false,
                  has_user_defined);
}

OrderedJson replace(const char* kind, const char* pattern, const char* content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}
OrderedJson sequence(const char* key, OrderedJson list) {
  if (list.empty()) return nullptr;
  return {{"type", "Sequence"}, {key, std::move(list)}};
}

// In SentencePiece's order: the table, extra spaces, the dummy prefix, spaces as ▁. Only spaces
// count: other white space stays. Without `legacy` the prefix is the pre-tokenizer's.
OrderedJson normalizer_json(const SentencePieceModel& m, bool legacy) {
  OrderedJson list = OrderedJson::array();
  if (!m.charsmap.empty())
    list.push_back(
        {{"type", "Precompiled"}, {"precompiled_charsmap", base64_of_bytes(m.charsmap)}});
  if (m.remove_extra_whitespaces) {
    list.push_back(replace("Regex", "\\A +| +\\z", ""));
    list.push_back(replace("Regex", " {2,}", " "));
  }
  if (m.add_dummy_prefix && legacy)
    list.push_back({{"type", "Prepend"}, {"prepend", m.escape_whitespaces ? kSpace : " "}});
  if (m.escape_whitespaces) list.push_back(replace("String", " ", kSpace));
  return sequence("normalizers", std::move(list));
}

// SentencePiece takes tokens that the user defined whole and lets no merge cross them, but a text
// has only one dummy prefix, so they are cut out behind the normalizer, the longest first, rather
// than looked for as added tokens.
OrderedJson user_defined_split(const SentencePieceModel& m) {
  std::vector<std::string_view> whole;
  for (const SentencePiece& piece : m.pieces)
    if (piece.type == SentencePiece::kUserDefined) whole.push_back(piece.text);
  if (whole.empty()) return nullptr;
  std::stable_sort(whole.begin(), whole.end(),
                   [](std::string_view a, std::string_view b) { return a.size() > b.size(); });
  std::string regex;
  for (const std::string_view text : whole) {
    if (!regex.empty()) regex += '|';
    for (const char c : text) {
      if (std::string_view(R"(\.^$|?*+()[]{}-#&~)").find(c) != std::string_view::npos)
        regex += '\\';
      regex += c;
    }
  }
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

OrderedJson decoder_json(const SentencePieceModel& m) {
  OrderedJson list = OrderedJson::array({replace("String", kSpace, " ")});
  if (m.byte_fallback) list.push_back({{"type", "ByteFallback"}});
  list.push_back({{"type", "Fuse"}});
  if (m.add_dummy_prefix)
    list.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return sequence("decoders", std::move(list));
}

OrderedJson metaspace(const char* scheme) {
  return {
      {"type", "Metaspace"}, {"replacement", kSpace}, {"prepend_scheme", scheme}, {"split", false}};
}

OrderedJson pre_tokenizer_json(const SentencePieceModel& m, bool legacy) {
  OrderedJson split = user_defined_split(m);
  if (legacy || !m.add_dummy_prefix) return split;
  if (split.is_null()) return metaspace("first");
  return {{"type", "Sequence"},
          {"pretokenizers", OrderedJson::array({metaspace("first"), std::move(split)})}};
}

// A tokenizer.json's parts that depend on the class, and the class's own special tokens.
struct Parts {
  OrderedJson normalizer, pre_tokenizer, decoder, model;
  std::vector<std::pair<const char*, std::string>> roles;
};

OrderedJson llama_decoders(bool strips) {
  OrderedJson list = OrderedJson::array(
      {replace("String", kSpace, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (strips) list.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return sequence("decoders", std::move(list));
}

Parts llama_parts(const SentencePieceModel& m, const Companions& c) {
  const bool prefix = c.flag("add_prefix_space", true), legacy = c.flag("legacy", false);
  return {.normalizer = nullptr,
          .pre_tokenizer = metaspace(!prefix  ? "never"
                                     : legacy ? "always"
                                              : "first"),
          .decoder = llama_decoders(prefix),
          .model = bpe_json(m, nullptr, true, true, false),
          .roles = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}}};
}

Parts gemma_parts(const SentencePieceModel& m, const Companions& c) {
  return {.normalizer = replace("String", " ", kSpace),
          .pre_tokenizer = {{"type", "Split"},
                            {"pattern", {{"String", " "}}},
                            {"behavior", "MergedWithPrevious"},
                            {"invert", false}},
          .decoder = llama_decoders(false),
          .model = bpe_json(m, c.role("unk_token", "<unk>"), true, true, false),
          .roles = {{"bos_token", "<bos>"},
                    {"eos_token", "<eos>"},
                    {"unk_token", "<unk>"},
                    {"pad_token", "<pad>"},
                    {"mask_token", "<mask>"}}};
}

// TokenizersBackend. A name that added_tokens_decoder has for one of the pieces is the piece's,
// unless another piece keeps it.
Parts backend_parts(SentencePieceModel& m, Companions& c) {
  std::set<std::string> kept;
  std::map<std::size_t, std::string> names;
  if (c.config.contains("added_tokens_decoder"))
    for (AddedToken& token : c.added) {
      if (m.add_dummy_prefix) token.normalized = false;
      if (const auto id = static_cast<std::size_t>(token.id); id < m.pieces.size())
        names[id] = token.content;
    }
  for (std::size_t id = 0; id < m.pieces.size(); ++id)
    if (!names.contains(id)) kept.insert(m.pieces[id].text);
  for (const auto& [id, name] : names)
    if (!kept.contains(name)) m.pieces[id].text = name;
  const bool legacy = c.flag("legacy", true);
  Parts parts = {.normalizer = normalizer_json(m, legacy),
                 .pre_tokenizer = pre_tokenizer_json(m, legacy),
                 .decoder = decoder_json(m),
                 .model = model_json(m),
                 .roles = {}};
  for (const auto& [role, id] : {std::pair("bos_token", m.bos_id), std::pair("eos_token", m.eos_id),
                                 std::pair("unk_token", m.unk_id)})
    if (id >= 0) parts.roles.emplace_back(role, m.pieces[static_cast<std::size_t>(id)].text);
  return parts;
}

// Classes of transformers that make something else of a tokenizer.model.
void refuse_others(const Companions& c) {
  for (const char* other :
       {"AlbertTokenizer", "BarthezTokenizer", "BigBirdTokenizer", "CamembertTokenizer",
        "CodeLlamaTokenizer", "MBart50Tokenizer", "MBartTokenizer", "NllbTokenizer",
        "PegasusTokenizer", "ReformerTokenizer", "RemBertTokenizer", "SeamlessM4TTokenizer",
        "T5Tokenizer", "XGLMTokenizer", "XLMRobertaTokenizer", "XLNetTokenizer"})
    CHECK_USER(c.class_name != other,
               "{}: tokenizer_class {} is not known with tokenizer.model alone; allowed: "
               "LlamaTokenizer, GemmaTokenizer, PreTrainedTokenizerFast (or give a tokenizer.json)",
               c.config_file, other);
}

}  // namespace

OrderedJson tokenizer_json_of_sentencepiece(const std::filesystem::path& file,
                                            const Companions& companions) {
  SentencePieceModel m = read_sentencepiece_model(file);
  Companions c = companions;
  refuse_others(c);
  const bool llama = c.class_name == "LlamaTokenizer", gemma = c.class_name == "GemmaTokenizer",
             own = llama || gemma;
  Parts parts = llama ? llama_parts(m, c) : gemma ? gemma_parts(m, c) : backend_parts(m, c);
  std::vector<std::string> tokens;
  tokens.reserve(m.pieces.size());
  for (const SentencePiece& piece : m.pieces) tokens.push_back(piece.text);
  AddedTokenList added(tokens, file.string());
  // The file's own tokens take the place of special_tokens_map.json's additional_special_tokens,
  // and are left out where tokenizer_config.json lists some.
  c.additional.clear();
  const bool has_list =
      c.config.contains("extra_special_tokens") || c.config.contains("additional_special_tokens");
  const auto roles = put_companions(added, c, parts.roles);
  for (std::size_t id = 0; id < m.pieces.size() && !has_list; ++id) {
    const bool control = m.pieces[id].type == SentencePiece::kControl;
    if (control || (own && m.pieces[id].type == SentencePiece::kUserDefined))
      added.put_anywhere({.content = m.pieces[id].text, .special = control}, file.string());
  }
  OrderedJson json = {{"version", "1.0"},
                      {"truncation", nullptr},
                      {"padding", nullptr},
                      {"added_tokens", OrderedJson::array()}};
  const Json post = begin_end_template(c, added, roles);
  for (const AddedToken& token : added.tokens()) json["added_tokens"].push_back(to_json(token));
  json["normalizer"] = std::move(parts.normalizer);
  json["pre_tokenizer"] = std::move(parts.pre_tokenizer);
  json["post_processor"] = parse_ordered_json(json_text(post));
  json["decoder"] = std::move(parts.decoder);
  json["model"] = std::move(parts.model);
  json["weft"] = OrderedJson(roles);
  return json;
}

}  // namespace weft
