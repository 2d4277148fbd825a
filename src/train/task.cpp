#include "train/task.h"

#include <algorithm>
#include <numeric>

#include "core/check.h"
#include "formats/families/families.h"

namespace weft {
namespace {

std::int32_t mask_token(const ModelConfig& c, const std::optional<Tokenizer>& tokenizer) {
  if (c.mask_id >= 0) return c.mask_id;
  return tokenizer ? tokenizer->mask_id().value_or(-1) : -1;
}

Problem problem_of(const LabelKind& kind) {
  return kind.problem == "regression" ? Problem::regression
         : kind.single()              ? Problem::single_label
                                      : Problem::multi_label;
}

// The model's number of a class of the data: by its name; a plain number is the class's own where
// the model has no names but LABEL_0, LABEL_1, … None: the model does not know it.
std::optional<std::int32_t> class_of(const ModelConfig& c, const std::string& name) {
  for (const std::string& spelling : {name, "LABEL_" + name}) {
    const auto at = std::find(c.labels.begin(), c.labels.end(), spelling);
    if (at != c.labels.end()) return static_cast<std::int32_t>(at - c.labels.begin());
  }
  return std::nullopt;
}

// The data's classes are the model's own, all of them or a part, in whatever order.
bool knows_all(const ModelConfig& c, const LabelKind& kind) {
  return kind.problem != "regression" &&
         std::all_of(kind.names.begin(), kind.names.end(),
                     [&](const std::string& name) { return class_of(c, name).has_value(); });
}

void set_labels(ModelConfig& c, const TokenFileInfo& data,
                const std::optional<Tokenizer>& tokenizer) {
  const bool was_classifier = c.head == HeadKind::classify;
  set_head(c, HeadKind::classify);
  c.problem = problem_of(*data.labels);
  if (!was_classifier || !knows_all(c, *data.labels)) {
    c.labels = data.labels->names;
    c.n_labels = data.labels->n_labels();
  }
  if (c.source.is_object()) c.source["problem_type"] = data.labels->problem;
  // transformers finds a text's last token by what is no padding.
  if (c.pooling == Pooling::last_token && c.pad_id < 0) {
    c.pad_id = tokenizer ? tokenizer->pad_id().value_or(-1) : -1;
    if (c.pad_id < 0) c.pad_id = c.eos_id;
  }
}

}  // namespace

ModelConfig fresh_model(const TrainOptions& o, std::int64_t vocab,
                        const std::optional<Tokenizer>& tokenizer) {
  ModelConfig c = fresh_config(o.family);
  c.layers = o.layers;
  c.width = o.width;
  c.heads = o.heads;
  CHECK_USER(o.heads >= 1 && o.width >= 1 && o.width % o.heads == 0,
             "--width is {} and --heads {}; allowed: a width that the heads divide", o.width,
             o.heads);
  c.kv_heads = o.kv_heads > 0 ? o.kv_heads : o.heads;
  CHECK_USER(o.kv_heads >= 0 && o.kv_heads <= o.heads && o.heads % c.kv_heads == 0,
             "--kv-heads is {}; allowed: a divisor of --heads ({})", o.kv_heads, o.heads);
  CHECK_USER(c.kv_heads == o.heads || !family(o.family).keys.kv_heads.empty(),
             "--kv-heads is {}; family {} allows as many as --heads ({})", o.kv_heads, o.family,
             o.heads);
  c.head_dim = o.width / o.heads;
  c.ffn = o.ffn > 0 ? o.ffn : c.gated ? (8 * o.width / 3 + 7) / 8 * 8 : 4 * o.width;
  c.vocab = vocab;
  c.context = o.context > 0 ? o.context : 256;
  c.eos_id = c.bos_id = c.pad_id = c.mask_id = -1;
  if (tokenizer) {
    c.eos_id = tokenizer->eos_id().value_or(-1);
    c.bos_id = tokenizer->bos_id().value_or(c.causal ? c.eos_id : -1);
    c.pad_id = tokenizer->pad_id().value_or(-1);
    c.mask_id = tokenizer->mask_id().value_or(-1);
  }
  finish_fresh(c);
  validate(c, "the options");
  return c;
}

void set_task(ModelConfig& c, const TrainOptions& o, const TokenFileInfo& data,
              const std::optional<Tokenizer>& tokenizer) {
  const std::string whose = o.model.empty() ? "--family " + o.family : "--model " + o.model;
  if (o.task == "clm") {
    CHECK_USER(
        c.causal,
        "--task is clm, but {} reads in both directions ({}); allowed: mlm, classify, regress",
        whose, c.family);
    set_head(c, HeadKind::causal_lm);
  } else if (o.task == "mlm") {
    CHECK_USER(
        !c.causal,
        "--task is mlm, but {} reads from left to right ({}); allowed: clm, classify, regress",
        whose, c.family);
    set_head(c, HeadKind::masked_lm);
    CHECK_USER(mask_token(c, tokenizer) >= 0,
               "--task is mlm, but neither {} nor its tokenizer has a mask token", whose);
    CHECK_USER(mask_token(c, tokenizer) < c.vocab,
               "--task is mlm, but the mask token {} lies outside the model's vocabulary of {}",
               mask_token(c, tokenizer), c.vocab);
  } else {
    CHECK_USER(data.labels, "--data {}: holds no labels; make it with `weft data --task {}`",
               o.data, o.task);
    CHECK_USER((data.labels->problem == "regression") == (o.task == "regress"),
               "--data {}: its labels are for {}, not --task {}", o.data, data.labels->problem,
               o.task);
    set_labels(c, data, tokenizer);
  }
  std::int32_t most = std::max(data.wrapping.first_type, data.wrapping.second_type);
  for (const auto* piece : {&data.wrapping.before, &data.wrapping.between, &data.wrapping.behind})
    for (const std::int32_t type : piece->types) most = std::max(most, type);
  CHECK_USER(c.token_types == 0 || most < c.token_types,
             "--data {} has token types up to {}, but {} knows {}", o.data, most, whose,
             c.token_types);
}

std::unique_ptr<TrainingData> task_data(const ModelConfig& c, const TrainOptions& o,
                                        const TokenFile& file, std::int64_t T,
                                        const std::optional<Tokenizer>& tokenizer) {
  const auto seed = static_cast<std::uint64_t>(o.seed);
  if (o.task == "clm") return next_token_data(file, T, seed);
  if (o.task == "mlm") {
    Masking masking = {o.mlm_probability, mask_token(c, tokenizer),
                       std::vector<std::uint8_t>(static_cast<std::size_t>(file.info().vocab_size))};
    for (std::int32_t id = 0; tokenizer && id < file.info().vocab_size; ++id)
      masking.special[static_cast<std::size_t>(id)] = tokenizer->is_special(id);
    return masked_data(file, T, seed, std::move(masking));
  }
  const LabelKind& kind = *file.info().labels;
  std::vector<std::int32_t> classes(static_cast<std::size_t>(kind.n_labels()));
  std::iota(classes.begin(), classes.end(), 0);
  if (knows_all(c, kind))
    std::transform(kind.names.begin(), kind.names.end(), classes.begin(),
                   [&](const std::string& name) { return *class_of(c, name); });
  return labelled_data(file, T, seed, std::move(classes),
                       c.pooling == Pooling::last_token ? c.pad_id : -1);
}

}  // namespace weft
