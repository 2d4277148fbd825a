#include "cli/session.h"

#include <omp.h>

#include <utility>

#include "cli/run_facts.h"
#include "comm/agreement.h"
#include "comm/compare.h"
#include "core/check.h"
#include "core/field_values.h"
#include "core/log.h"
#include "core/system/hardware.h"
#include "core/utf8.h"
#include "formats/families/families.h"
#include "infer/generation_file.h"
#include "io/hub_cache.h"
#include "kernels/scratch.h"
#include "machine/device_choice.h"
#include "model/grid_check.h"
#include "text/files/tokenizer_files.h"
#include "train/start.h"

namespace weft {

DType ModelOptions::held_dtype() const { return dtype_of(dtype).value_or(DType::f32); }

void ModelOptions::visit(FieldVisitor& v) {
  v.group("model");
  v.field("model", model, "HF directory, GGUF file or Weft checkpoint (.h5)");
  v.field("tokenizer", tokenizer, "tokenizer directory, when it does not come with the model");
  v.field("dtype", dtype, kHeldDTypes, "how weights are held (unset: fp32)");
  v.field("seed", seed, kAnyInteger, "seed of what is drawn at random");
  v.group("parallel");
  v.field("tp", tp, kGridAxis, "tensor-parallel ranks");
  v.field("pp", pp, kGridAxis, "pipeline-parallel ranks");
  v.field("dp", dp, kGridAxisOrLeft, "data-parallel ranks; 0: ranks / (tp * pp)");
  v.field("device", device, kDevices, kDeviceHelp);
  v.field("gpu_map", gpu_map, kGpuMapHelp);
  v.field("comm_timeout", comm_timeout, kCommTimeout, kCommTimeoutHelp);
  v.field("threads", threads, kThreads, "threads of a rank; 0: cores of the host / ranks on it");
  v.field("walltime", walltime, kWalltimeHelp);
  // Any tp will do: inference sums nothing over ranks (gather_columns_tp), so that fixed orders of
  // summation within one are all there is to it. On a GPU an order is cuBLASLt's for the shape of a
  // rank's slice, which another tp may change: there it holds for one tp.
  v.field("deterministic", deterministic,
          "results have the same bits on every grid and with whatever else is in the batch");
  v.group("log");
  v.field("log", log, "append a run log of the job to this file, for weft report");
}

std::optional<Tokenizer> open_tokenizer(const StoredModel& model, const std::string& tokenizer) {
  if (!tokenizer.empty()) return load_tokenizer(find_model(tokenizer, "--tokenizer"));
  return model.tokenizer();
}

namespace {

// RoBERTa's forward counts positions from padding_idx + 1, but transformers' generate() hands it
// positions that count from 0 (measured with 5.24, is_decoder true and false, with and without a
// cache). We follow, so that the text is the same, and say so. The table keeps its rows.
void count_from_zero(ModelConfig& c, const std::string& model, bool tells) {
  if (tells)
    log_warning(
        "--model {}: positions count from 0 here, as in transformers' generate(), though the model "
        "learned them from {} on; score counts as it learned",
        model, c.first_position);
  c.context += std::exchange(c.first_position, 0);
  c.pad_keeps_position = false;
}

ModelConfig config_for(ModelUse use, const StoredModel& stored, bool tells) {
  const std::string& model = stored.path();
  ModelConfig c = stored.config();
  const bool encoder = !family(c.family).defaults.causal;
  switch (use) {
    case ModelUse::generate:
      if (c.head != HeadKind::causal_lm) set_head(c, HeadKind::causal_lm);
      if (encoder && !c.causal && tells)
        log_warning(
            "--model {}: if you want to use `{}` as a standalone, add `is_decoder=True.` to its "
            "config.json; as it is its prompt is read in both directions, "
            "as in transformers",
            model, architecture(c));
      if (encoder && c.first_position > 0) count_from_zero(c, model, tells);
      break;
    case ModelUse::chat:
      CHECK_USER(!encoder || c.head == HeadKind::causal_lm,
                 "--model {}: is a {}; chat needs a causal language model", model,
                 head_name(c.head));
      set_head(c, HeadKind::causal_lm);
      if (encoder && c.first_position > 0) count_from_zero(c, model, tells);
      break;
    case ModelUse::score:
      if (!c.has_lm_head()) set_head(c, encoder ? HeadKind::masked_lm : HeadKind::causal_lm);
      break;
    case ModelUse::fill:
      set_head(c, HeadKind::masked_lm);
      break;
    case ModelUse::label:
      CHECK_USER(c.has_label_head(),
                 "--model {}: is a {}, not a text or token classifier; fine-tune it with weft "
                 "train --task classify",
                 model, head_name(c.head));
      break;
    case ModelUse::states:
      set_head(c, HeadKind::base);
      c.pooler = false;  // hidden states come from before it
      break;
  }
  return c;
}

ModelOptions with_found_model(ModelOptions o) {
  if (!o.walltime.empty()) checked_walltime(o.walltime);
  o.model = find_model(o.model, "--model");
  return o;
}

int use_threads(const Invocation& invocation, const ModelOptions& o) {
  const int threads = resolve_threads(o.threads, invocation.mpi.ranks_on_host());
  omp_set_num_threads(threads);
  return threads;
}

GridShape checked_grid(const ModelOptions& o, const ModelConfig& c, int ranks) {
  const GridShape shape = resolve_grid(o.tp, o.pp, o.dp, ranks);
  check_grid(shape, c);
  return shape;
}

}  // namespace

Device device_of(const Invocation& invocation, const ModelConfig* config, const std::string& device,
                 const std::string& gpu_map) {
  const auto world = invocation.mpi.world();
  return choose_device({.device = device,
                        .gpu_map = gpu_map,
                        .local_rank = invocation.mpi.rank_on_host(),
                        .ranks_on_host = invocation.mpi.ranks_on_host(),
                        .unfit = config ? gpu_objection(*config) : ""},
                       *world);
}

Session::Session(const Invocation& invocation, const ModelOptions& given, ModelUse use)
    : purpose(use),
      ranks_on_host(invocation.mpi.ranks_on_host()),
      options(with_found_model(given)),
      model(open_model(options.model, "--model")),
      config(config_for(use, model, invocation.mpi.rank() == 0)),
      tokenizer(open_tokenizer(model, options.tokenizer)),
      device(device_of(invocation, &config, given.device, given.gpu_map)),
      grid(invocation.mpi.world(), checked_grid(given, config, invocation.mpi.size()), device,
           given.comm_timeout),
      stream(device, use_threads(invocation, given)),
      memory(memory_room(stream.device(), invocation.mpi.ranks_on_host())),
      ctx{.grid = grid,
          .stream = stream,
          .precision = given.deterministic ? Precision::fp32_fixed : Precision::fp32,
          .act = activation_dtype(stream.device(), given.held_dtype()),
          .clock = given.log.empty() ? nullptr : &clock,
          .observer = {}} {
  compare(
      grid.world(),
      [&] {
        ModelOptions copy = options;
        // Without what may differ from host to host; the files' contents are compared instead.
        std::vector<Fact> facts =
            option_facts([&](FieldVisitor& v) { copy.visit(v); },
                         {"model", "tokenizer", "threads", "device", "gpu_map", "log"});
        for (Fact& fact : model_facts(&model, config, tokenizer)) facts.push_back(std::move(fact));
        return facts;
      },
      stream);
}

JobLog Session::open_log(const Invocation& invocation, const std::string& what,
                         const VisitFields& fields, std::size_t n_items) {
  if (options.log.empty()) return {};
  OrderedJson line = run_facts(invocation, what);
  const std::vector<std::string> hosts = hosts_of(grid.world());
  add_place(line, hosts, grid.world().size(), time);
  const GridShape& shape = grid.shape();
  line["grid"] = {{"tp", shape.tp}, {"pp", shape.pp}, {"dp", shape.dp}};
  line["model"] = shown_fields(
      config, {"family", "layers", "width", "heads", "kv_heads", "ffn", "vocab", "context"});
  line["parameters"] = count_parameters(config);
  line["threads"] = stream.n_threads();
  line["dtype"] = dtype_name(options.held_dtype());
  line["items"] = n_items;
  line["options"] = field_values(fields);
  line["options"]["dp"] = shape.dp;
  line["options"]["threads"] = stream.n_threads();
  line["options"]["dtype"] = line["dtype"];
  line["device"] = device_word(stream.device());
  line["options"]["device"] = line["device"];
  return JobLog(ctx, clock, options.log, line);
}

std::optional<DType> Session::cache_dtype(const std::string& word) const {
  const std::optional<DType> kv = value_of(kCacheWords, "--kv-cache-dtype", word);
  CHECK_USER(!kv || *kv == ctx.act || device.type == DeviceType::cpu,
             "--kv-cache-dtype is {}; a GPU holds keys and values as it does activations; allowed: "
             "auto, {}",
             word, dtype_name(ctx.act));
  return kv;
}

std::int64_t Session::free_memory_bytes() const {
  grid.world().barrier();  // so that everybody's weights are counted
  return memory_room(stream.device(), ranks_on_host).bytes;
}

// A config.json that its own weights contradict is the user's mistake, however large it makes them.
void Session::too_large(double planned) const {
  model.weights()->check(config);
  machine_error("--model {}: its weights{} take {:.2f} GB on a rank, but {:.2f} GB is {}",
                options.model,
                stream.device().type == DeviceType::cuda ? " and a GPU's workspaces" : "",
                planned / 1e9, static_cast<double>(memory.bytes) / 1e9, memory.bound);
}

void Session::watch_time(bool signals) {
  time = find_run_time(grid.world(), stream, options.walltime);
  limit.emplace(time.deadline, signals);
  ctx.limit = &*limit;
}

void Session::load_weights() {
  if (const std::string warning = warning_of_untied(config, options.model);
      first() && !warning.empty())
    log_warning("--model {}", warning);
  std::unique_ptr<WeightSource> weights;
  const DType dtype = options.held_dtype();
  throw_together(
      grid.world(), failure_of([&] {
        weights = model.weights();
        if (const std::string advice = weights->advice(); first() && !advice.empty())
          log_info("--model {}: {}", options.model, advice);
        const auto planned = static_cast<double>(
            Parameters::plan_bytes(config, grid.shape(), grid.tp().rank(), grid.pp().rank(), dtype,
                                   ParameterUse::inference, stream.device()) +
            op_workspace_bytes(stream.device()));
        if (planned > static_cast<double>(memory.bytes)) too_large(planned);
        parameters.emplace(config, grid, dtype, ParameterUse::inference, 1, stream.device());
      }),
      stream);
  weights->load(ctx, *parameters, config);
  parameters->to_panels(stream, purpose == ModelUse::states ? Parameters::TableUse::rows
                                                            : Parameters::TableUse::head);
}

const Tokenizer& Session::need_tokenizer() const {
  CHECK_USER(tokenizer, "--model {}: comes without a tokenizer; name one with --tokenizer",
             options.model);
  for (std::int64_t id = config.vocab; id < tokenizer->vocab_size(); ++id) {
    const auto past = static_cast<std::int32_t>(id);
    CHECK_USER(tokenizer->token(past).empty() || tokenizer->is_added(past),
               "the tokenizer has {} tokens ('{}' is {}), but the model {}: it belongs to another "
               "model",
               tokenizer->vocab_size(), made_utf8(tokenizer->token(past)), past, config.vocab);
  }
  return *tokenizer;
}

void Session::check_ids(const std::string& what, std::span<const std::int32_t> ids) const {
  for (const std::int32_t id : ids)
    CHECK_USER(id >= 0 && id < config.vocab,
               "{} has the token '{}' with id {}, but the model's vocabulary holds 0 to {}", what,
               tokenizer ? made_utf8(tokenizer->token(id)) : "", id, config.vocab - 1);
}

std::int32_t Session::need_mask_id() const {
  const std::int32_t id =
      config.mask_id >= 0 ? config.mask_id : need_tokenizer().mask_id().value_or(-1);
  CHECK_USER(id >= 0, "--model {}: its tokenizer has no mask token", options.model);
  CHECK_USER(id < config.vocab,
             "--model {}: its mask token has id {}, but its vocabulary holds 0 to {}",
             options.model, id, config.vocab - 1);
  return id;
}

GenerationFile Session::generation_file() const {
  const std::optional<OriginText> text = model.generation();
  GenerationFile file = text ? parse_generation_config(text->text, text->origin) : GenerationFile();
  if (file.eos.empty()) file.eos = end_tokens(config);
  if (!file.unknown.empty() && first() && !std::exchange(warned_of_generation_file, true))
    log_warning("{} sets {}, which Weft does not have; it is ignored", text->origin,
                fmt::join(file.unknown, ", "));
  return file;
}

void Session::check_length(const std::string& what, std::size_t n_tokens) const {
  const auto n = static_cast<std::int64_t>(n_tokens);
  if (n <= config.context) return;
  CHECK_USER(config.positions == Positions::rope,
             "{} has {} tokens, but the model's context holds {}", what, n, config.context);
  if (first() && !std::exchange(warned_of_length, true))
    log_warning(
        "{} has {} tokens; the model was made for {} at most, so its results may make no sense",
        what, n, config.context);
}

}  // namespace weft
