#include "train/run_identity.h"

#include "core/check.h"
#include "core/short_decimal.h"
#include "formats/families/families.h"
#include "text/files/tokenizer_files.h"

namespace weft {
namespace {

// --steps is left out: a run may become longer, and its log says how long it was to be. The seed is
// compared by the trainer, which finds it in files of before too.
constexpr const char* kOtherKeys[] = {"task", "context"};
constexpr const char* kSettings[] = {
    "batch_size", "lr",    "min_lr", "warmup_steps",   "lr_schedule", "weight_decay",
    "beta1",      "beta2", "eps",    "clip_grad_norm", "dropout",     "mlm_probability"};

std::string as_text(const OrderedJson& value) {
  return value.is_string() ? value.get<std::string>().substr(0, 8) : json_text(value);
}

std::vector<std::string> changes(const OrderedJson& stored, const OrderedJson& mine,
                                 std::span<const char* const> keys) {
  std::vector<std::string> list;
  for (const char* key : keys)
    if (stored.contains(key) && mine.contains(key) && stored[key] != mine[key])
      list.push_back(
          fmt::format("{} was {}, is {}", key, as_text(stored[key]), as_text(mine[key])));
  return list;
}

}  // namespace

OrderedJson run_identity(const TrainingStart& start, const TrainOptions& o) {
  const TokenFile& data = start.data->file();
  const DropoutRates& dropout = start.step.dropout;
  OrderedJson identity = {{"tokenizer", data.info().tokenizer_hash},
                          {"tokens", data.info().n_tokens},
                          {"documents", data.info().n_documents},
                          {"val_fraction", data.info().val_fraction},
                          {"data_checksum", fmt::format("{:016x}", data.checksum())},
                          {"task", o.task},
                          {"context", start.step.T},
                          {"seed", o.seed},
                          {"batch_size", o.batch_size},
                          {"lr", o.lr},
                          {"min_lr", o.min_lr.value_or(o.lr / 10)},
                          {"warmup_steps", o.warmup_steps},
                          {"lr_schedule", o.lr_schedule},
                          {"weight_decay", o.weight_decay},
                          {"beta1", o.beta1},
                          {"beta2", o.beta2},
                          {"eps", o.eps},
                          {"clip_grad_norm", o.clip_grad_norm},
                          {"dropout",
                           {short_decimal(dropout.embedding), short_decimal(dropout.attention),
                            short_decimal(dropout.residual), short_decimal(dropout.head)}}};
  if (o.task == "mlm") identity["mlm_probability"] = o.mlm_probability;
  return identity;
}

IdentityChanges identity_changes(const OrderedJson& stored, const OrderedJson& mine) {
  IdentityChanges all = {changes(stored, mine, kDatasetKeys), changes(stored, mine, kSettings)};
  for (const std::string& change : changes(stored, mine, kOtherKeys))
    all.another_run.push_back(change);
  return all;
}

IdentityChanges check_same_run(const std::filesystem::path& file, const CheckpointHeader& header,
                               const TrainingStart& start, std::int64_t seed) {
  IdentityChanges changes = identity_changes(header.state.identity, start.identity);
  const std::string ours = start.tokenizer ? start.tokenizer->hash() : "";
  if (header.state.identity.is_null() && !header.state.tokenizer.empty() && !ours.empty() &&
      tokenizer_from_json(header.state.tokenizer, file.string()).hash() != ours)
    changes.another_run.push_back("the tokenizer is another");
  CHECK_USER(changes.another_run.empty(),
             "{}: is a checkpoint of another run: {}; choose another --out, or --resume none to "
             "begin anew, or --model {} to begin with its weights",
             file.string(), fmt::join(changes.another_run, "; "), file.string());
  const std::string difference = first_difference(header.config, start.config);
  CHECK_USER(difference.empty(),
             "{}: is a checkpoint of another model: {}; choose another --out, or --resume none",
             file.string(), difference);
  CHECK_USER(header.state.seed == seed,
             "{}: was started with --seed {}, not {}; choose another --out, or --resume none",
             file.string(), header.state.seed, seed);
  return changes;
}

}  // namespace weft
