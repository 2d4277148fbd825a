#include "text/learn/trainer.h"

#include <algorithm>

#include "core/check.h"
#include "core/utf8.h"
#include "text/files/tokenizer_files.h"
#include "text/learn/trainer_kinds.h"
#include "text/word_table.h"

namespace weft {
namespace {

std::vector<TrainerKind> all_kinds() {
  return {bpe_kind(),  wordpiece_kind(), unigram_kind(), word_kind(),
          char_kind(), codon_kind(),     smiles_kind()};
}

TrainerKind kind_of(const std::string& name) {
  for (TrainerKind& kind : all_kinds())
    if (kind.name == name) return std::move(kind);
  check_allowed("--kind", name, trainer_kinds());
  return {};  // not reached: the word is none of theirs
}

}  // namespace

Words trainer_kinds() {
  std::vector<std::string> names;
  for (const TrainerKind& kind : all_kinds()) names.emplace_back(kind.name);
  return names;
}

struct TokenizerTrainer::Impl {
  TokenizerTraining options;
  TrainerKind kind;
  WordTable numbers;   // of the pieces as they came
  PieceCounts counts;  // by number
};

namespace {

// The names that special tokens of a role usually have.
constexpr std::pair<const char*, const char*> kUsualNames[] = {
    {"unk_token", "<unk>"},   {"unk_token", "[UNK]"}, {"mask_token", "<mask>"},
    {"mask_token", "[MASK]"}, {"pad_token", "<pad>"}, {"pad_token", "[PAD]"},
    {"cls_token", "<cls>"},   {"cls_token", "[CLS]"}, {"sep_token", "<sep>"},
    {"sep_token", "[SEP]"}};

// Every role that a special token has, and every token with a role among the special ones.
void resolve_roles(TokenizerTraining& options) {
  std::vector<std::string>& special = options.special_tokens;
  for (const auto& [role, token] : options.roles)
    if (std::find(special.begin(), special.end(), token) == special.end()) special.push_back(token);
  for (const auto& [role, usual] : kUsualNames)
    if (std::find(special.begin(), special.end(), usual) != special.end())
      options.roles.try_emplace(role, usual);
}

}  // namespace

std::vector<std::string> default_special_tokens(const std::string& kind,
                                                const std::map<std::string, std::string>& roles) {
  std::vector<std::string> tokens = kind_of(kind).special_tokens;
  for (const auto& [role, usual] : kUsualNames)
    if (const auto given = roles.find(role); given != roles.end())
      std::replace(tokens.begin(), tokens.end(), std::string(usual), given->second);
  return tokens;
}

OrderedJson vocab_json(const std::vector<std::string>& tokens) {
  OrderedJson vocab = OrderedJson::object();
  for (std::size_t i = 0; i < tokens.size(); ++i)
    vocab.get_ref<OrderedJson::object_t&>().emplace_back(tokens[i], i);
  return vocab;
}

TokenizerTrainer::TokenizerTrainer(TokenizerTraining options) : impl_(std::make_unique<Impl>()) {
  impl_->kind = kind_of(options.kind);
  const TrainerKind& kind = impl_->kind;
  CHECK_USER(!options.special_tokens.empty(),
             "--special-tokens is empty; at least the end token is needed");
  resolve_roles(options);
  for (std::size_t i = 0; i < options.special_tokens.size(); ++i) {
    const std::string& token = options.special_tokens[i];
    CHECK_USER(!token.empty() && made_utf8(token) == token,
               "--special-tokens has '{}'; allowed: texts in UTF-8 that are not empty",
               made_utf8(token));
    CHECK_USER(std::find(options.special_tokens.begin(),
                         options.special_tokens.begin() + static_cast<std::ptrdiff_t>(i),
                         token) == options.special_tokens.begin() + static_cast<std::ptrdiff_t>(i),
               "--special-tokens has '{}' twice", token);
    CHECK_USER(
        !kind.reserves(token),
        "--special-tokens has '{}', which the tokenizer needs for itself; choose a longer one",
        token);
  }
  CHECK_USER(
      !kind.has_unknowns || options.roles.contains("unk_token"),
      "--special-tokens has no <unk> or [UNK], and --unk-token names none; kind {} needs one "
      "for what is not in its vocabulary",
      kind.name);
  const auto least = kind.own_tokens + static_cast<std::int64_t>(options.special_tokens.size());
  CHECK_USER(options.vocab_size >= least && options.vocab_size <= kMaxVocabSize,
             "--vocab-size is {}; allowed: {} ({} of the kind {} and the special tokens) to {}",
             options.vocab_size, least, kind.own_tokens, kind.name, kMaxVocabSize);
  impl_->options = std::move(options);
}
TokenizerTrainer::~TokenizerTrainer() = default;

void TokenizerTrainer::add(std::string_view text) {
  impl_->kind.cut(text, [&](std::string_view piece) {
    const auto next = static_cast<std::int32_t>(impl_->counts.size());
    const std::int32_t number = impl_->numbers.insert(piece, next);
    if (number == next) impl_->counts.push_back({std::string(piece), 0});
    ++impl_->counts[static_cast<std::size_t>(number)].count;
  });
}

OrderedJson TokenizerTrainer::finish_json(const std::function<void(double)>& progress) {
  const TokenizerTraining& options = impl_->options;
  LearnedTokenizer learned = impl_->kind.learn(options, impl_->counts, progress);
  OrderedJson json = {{"version", "1.0"},
                      {"truncation", nullptr},
                      {"padding", nullptr},
                      {"added_tokens", OrderedJson::array()}};
  for (std::size_t id = 0; id < options.special_tokens.size(); ++id)
    json["added_tokens"].push_back({{"id", id},
                                    {"content", options.special_tokens[id]},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  json["normalizer"] = std::move(learned.normalizer);
  json["pre_tokenizer"] = std::move(learned.pre_tokenizer);
  json["post_processor"] = std::move(learned.post_processor);
  json["decoder"] = std::move(learned.decoder);
  json["model"] = std::move(learned.model);
  json["weft"] = OrderedJson::object();
  for (const auto& [role, token] : options.roles) json["weft"][role] = token;
  const bool by_sep = options.kind == "wordpiece" && options.roles.contains("sep_token");
  json["weft"]["eos_token"] =
      by_sep ? options.roles.at("sep_token") : options.special_tokens.front();
  return json;
}

Tokenizer TokenizerTrainer::finish(const std::function<void(double)>& progress) {
  return tokenizer_from_json(json_text(finish_json(progress)), "the trained tokenizer");
}

}  // namespace weft
