#include "text/trainer.h"

#include <algorithm>

#include "core/check.h"
#include "text/trainer_kinds.h"
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

std::vector<std::string> default_special_tokens(const std::string& kind) {
  return kind_of(kind).special_tokens;
}

std::string unk_token_of(const TrainerKind& kind, const std::vector<std::string>& special_tokens) {
  for (const std::string& unk : kind.unk_tokens)
    if (std::find(special_tokens.begin(), special_tokens.end(), unk) != special_tokens.end())
      return unk;
  std::string allowed;
  for (const std::string& unk : kind.unk_tokens) allowed += (allowed.empty() ? "" : " or ") + unk;
  user_error("--special-tokens has no {}, which kind {} needs for what is not in its vocabulary",
             allowed, kind.name);
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
  for (std::size_t i = 0; i < options.special_tokens.size(); ++i) {
    const std::string& token = options.special_tokens[i];
    CHECK_USER(!token.empty() && valid_utf8(token) == token,
               "--special-tokens has '{}'; allowed: texts in UTF-8 that are not empty",
               valid_utf8(token));
    CHECK_USER(std::find(options.special_tokens.begin(),
                         options.special_tokens.begin() + static_cast<std::ptrdiff_t>(i),
                         token) == options.special_tokens.begin() + static_cast<std::ptrdiff_t>(i),
               "--special-tokens has '{}' twice", token);
    CHECK_USER(
        !kind.reserves(token),
        "--special-tokens has '{}', which the tokenizer needs for itself; choose a longer one",
        token);
  }
  if (!kind.unk_tokens.empty()) unk_token_of(kind, options.special_tokens);
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
  const auto sep = std::find(options.special_tokens.begin(), options.special_tokens.end(), "[SEP]");
  const bool by_sep = options.kind == "wordpiece" && sep != options.special_tokens.end();
  json["weft"] = {{"eos_token", by_sep ? *sep : options.special_tokens.front()}};
  return json;
}

Tokenizer TokenizerTrainer::finish(const std::function<void(double)>& progress) {
  return Tokenizer::from_json(finish_json(progress).dump(), "the trained tokenizer");
}

}  // namespace weft
