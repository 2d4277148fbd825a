#include "train/start.h"

#include <algorithm>
#include <utility>

#include "comm/agreement.h"
#include "core/check.h"
#include "core/checksum.h"
#include "core/damaged.h"
#include "formats/checkpoint_folder.h"
#include "formats/families/families.h"
#include "kernels/peak.h"
#include "model/grid_check.h"
#include "text/files/tokenizer_files.h"
#include "train/run_identity.h"
#include "train/task.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

// What a run that goes on needs no folder for: the newest checkpoint's header, where --model is
// gone. A damaged one is passed over here as it will be when it is loaded.
std::optional<CheckpointHeader> header_instead_of_model(const TrainOptions& o) {
  std::error_code error;
  if (o.model.empty() || fs::exists(o.model, error) || error) return std::nullopt;
  for (const fs::path& file : resume_candidates(o)) {
    try {
      return read_checkpoint_header(file);
    } catch (const Damaged&) {
      if (o.resume != "auto") throw;
    }
  }
  return std::nullopt;
}

std::optional<Tokenizer> find_tokenizer(const TrainOptions& o, const TokenFileInfo& data,
                                        const std::optional<StoredModel>& model,
                                        const std::optional<CheckpointHeader>& resumed) {
  if (!o.tokenizer.empty()) return load_tokenizer(o.tokenizer);
  if (resumed && !resumed->state.tokenizer.empty())
    return tokenizer_from_json(resumed->state.tokenizer, "the checkpoint's tokenizer");
  if (model)
    if (auto tokenizer = model->tokenizer()) return tokenizer;
  if (!data.tokenizer.empty()) return tokenizer_from_json(data.tokenizer, o.data);
  return std::nullopt;
}

// A tokenizer with more tokens than the model: the model gets rows for them.
void grow_vocabulary(TrainingStart& start, const TrainOptions& o, const TokenFileInfo& data) {
  ModelConfig& c = start.config;
  if (data.vocab_size <= c.vocab) return;
  CHECK_USER(
      !start.model || start.model->takes_new_tensors(),
      "--data {} has a vocabulary of {}, the checkpoint --model {} one of {}; new tokens are "
      "added to a Hugging Face directory (the folder model/ of its run)",
      o.data, data.vocab_size, o.model, c.vocab);
  start.stored_vocab = std::exchange(c.vocab, data.vocab_size);
}

}  // namespace

TrainingStart resolve_start(const TrainOptions& o, int n_ranks) {
  validate(o);
  TrainingStart start;
  start.shape = resolve_grid(o.tp, o.pp, o.dp, n_ranks);
  start.out = o.out;
  const TokenFile file(o.data);
  const std::optional<CheckpointHeader> resumed = header_instead_of_model(o);
  start.without_model = resumed.has_value();
  if (!o.model.empty() && !resumed) start.model = open_model(o.model, "--model");
  start.tokenizer = find_tokenizer(o, file.info(), start.model, resumed);
  if (start.tokenizer)
    CHECK_USER(start.tokenizer->hash() == file.info().tokenizer_hash,
               "--data {} was made with another tokenizer (hash {}) than the model's ({}); make it "
               "again with this one, or name the other with --tokenizer where it is the model's "
               "with new tokens",
               o.data, file.info().tokenizer_hash.substr(0, 8),
               start.tokenizer->hash().substr(0, 8));
  CHECK_USER(file.info().task == o.task, "--data {} was made for --task {}, not {}", o.data,
             file.info().task, o.task);

  if (resumed)
    start.config = resumed->config;
  else if (start.model)
    start.config = start.model->config();
  else
    start.config = fresh_model(o, file.info().vocab_size, start.tokenizer);
  ModelConfig& c = start.config;
  grow_vocabulary(start, o, file.info());
  const HeadKind before = c.head;
  set_task(c, o, file.info(), start.tokenizer);
  CHECK_USER(!start.model || start.model->takes_new_tensors() || before == c.head,
             "--model {} is a checkpoint of a {}; --task {} starts from a Hugging Face directory "
             "(the folder model/ of its run)",
             o.model, head_name(before), o.task);
  CHECK_USER(o.context <= c.context, "--context is {}; allowed: 1 to {}, the model's", o.context,
             c.context);
  check_grid(start.shape, c);
  CHECK_USER(start.shape.dp <= o.batch_size,
             "--dp is {}, but --batch-size {}; every data-parallel rank needs a sequence",
             start.shape.dp, o.batch_size);
  if (o.dropout || o.model.empty())
    c.dropout_embedding = c.dropout_attention = c.dropout_residual = c.dropout_head =
        static_cast<float>(o.dropout.value_or(0));

  std::int64_t tokens = o.context > 0 ? o.context : c.context;
  if (o.task != "clm") tokens = std::min(tokens, longest_sample(file));
  start.context = o.model.empty() ? c.context : tokens;
  const auto T = static_cast<double>(tokens);
  const double activations =
      static_cast<double>(o.batch_size) * T * static_cast<double>((c.width + c.ffn) * c.layers);
  CHECK_USER(activations < 1e16,
             "--batch-size is {} and the model has a context of {} and a width of {}: no machine "
             "holds the activations; choose smaller ones",
             o.batch_size, T, c.width);

  StepSettings& s = start.step;
  s.batch_size = o.batch_size;
  s.micro_batch_size = o.micro_batch_size;
  s.T = tokens;
  s.schedule = schedule_kind(o.pipeline_schedule);
  s.recompute = value_of(kRecomputes, "--recompute", o.recompute);
  s.dropout = {c.dropout_embedding, c.dropout_attention, c.dropout_residual, c.dropout_head};
  s.seed = static_cast<std::uint64_t>(o.seed);
  s.clip_grad_norm = o.clip_grad_norm;
  s.optimizer = {.lr = {.lr = o.lr,
                        .min_lr = o.min_lr.value_or(o.lr / 10),
                        .warmup_steps = o.warmup_steps,
                        .steps = o.steps,
                        .decay = lr_decay(o.lr_schedule)},
                 .beta1 = o.beta1,
                 .beta2 = o.beta2,
                 .eps = o.eps,
                 .weight_decay = o.weight_decay};
  checked_schedule(s, start.shape);
  start.data = task_data(c, o, file, s.T, start.tokenizer);
  start.identity = run_identity(start, o);
  return start;
}

std::vector<Fact> model_facts(const StoredModel* model, const ModelConfig& config,
                              const std::optional<Tokenizer>& tokenizer) {
  const auto hex = [](std::uint64_t sum) { return fmt::format("{:016x}", sum); };
  return {
      {"the tokenizer (its hash)", tokenizer ? tokenizer->hash() : "none"},
      {"--model's config (its checksum)", hex(text_checksum(json_text(write_hf_config(config))))},
      {"--model's weights (their checksum)",
       model ? hex(model->weights()->checksum(config)) : "none"}};
}

TrainingStart resolve_together(const TrainOptions& o, Communicator& world, Stream& stream) {
  std::optional<TrainingStart> start;
  throw_together(world, failure_of([&] { start = resolve_start(o, world.size()); }), stream);
  compare(
      world,
      [&] {
        TrainOptions copy = o;
        std::vector<Fact> facts = option_facts(
            [&](FieldVisitor& v) { copy.visit(v); },
            // What may differ from host to host. The files' contents are compared below.
            {"model", "tokenizer", "data", "out", "resume", "threads", "device", "gpu_map"});
        for (const char* key : kDatasetKeys) {
          const OrderedJson& value = start->identity[key];
          facts.push_back({fmt::format("--data ({})", key),
                           value.is_string() ? value.get<std::string>() : json_text(value)});
        }
        for (Fact& fact :
             model_facts(start->model ? &*start->model : nullptr, start->config, start->tokenizer))
          facts.push_back(std::move(fact));
        return facts;
      },
      stream);
  return std::move(*start);
}

std::size_t plan_training(const Context& ctx, const TrainingStart& start,
                          std::optional<DType> dtype) {
  const Grid& grid = ctx.grid;
  const Device device = ctx.stream.device();
  const ParametersPlan held =
      Parameters::plan(start.config, grid.shape(), grid.tp().rank(), grid.pp().rank(),
                       dtype.value_or(DType::f32), ParameterUse::training, device);
  return held.bytes + TrainStep::plan_bytes(ctx, start.config, held, start.step) +
         MatmulProbe::plan_bytes(ctx.precision, device);
}

void check_memory(std::size_t planned_bytes, const MemoryRoom& room, Communicator& world,
                  Stream& stream) {
  const auto planned = static_cast<std::int64_t>(planned_bytes);
  throw_together(
      world, failure_of([&] {
        CHECK_MACHINE(
            planned <= room.bytes,
            "weights, gradients, moments, activations and workspaces take {:.2f} GB on "
            "a rank, but {:.2f} GB is {}; choose a smaller --micro-batch-size or model, or more "
            "ranks",
            static_cast<double>(planned) / 1e9, static_cast<double>(room.bytes) / 1e9, room.bound);
      }),
      stream);
}

std::vector<fs::path> resume_candidates(const TrainOptions& o) {
  if (o.resume == "none") return {};
  if (o.resume == "auto") return list_checkpoints(fs::path(o.out) / "checkpoints");
  std::error_code error;
  CHECK_USER(fs::exists(o.resume, error),
             "--resume is '{}'; allowed: auto, none, or a checkpoint file that exists", o.resume);
  return {o.resume};
}

}  // namespace weft
