#include "train/options.h"

#include "core/check.h"
#include "core/option_words.h"
#include "core/system/deadline.h"
#include "core/system/hardware.h"
#include "formats/families/families.h"
#include "model/limits.h"
#include "model/schedule.h"
#include "model/stage.h"
#include "train/lr_schedule.h"

namespace weft {

namespace {

// Random numbers are keyed by 32 bits of the step.
constexpr std::int64_t kMaxSteps = std::numeric_limits<std::uint32_t>::max(),
                       kMaxSequences = 1 << 24;

Words family_names() {
  std::vector<std::string> names;
  for (const Family& row : families()) names.push_back(row.name);
  return names;
}

}  // namespace

void TrainOptions::visit(FieldVisitor& v) {
  v.group("model");
  v.field(
      "model", model,
      "start from this HF directory or Weft checkpoint (.h5); without it a fresh model is made");
  v.field("tokenizer", tokenizer,
          "tokenizer directory, when it comes neither with the model nor with the data");
  v.field("family", family, family_names(), "family of a fresh model");
  v.field("layers", layers, Integers{1, kMaxLayers}, "blocks of a fresh model");
  v.field("width", width, Integers{1, kMaxWidth}, "width of a fresh model");
  v.field("heads", heads, Integers{1, kMaxHeads}, "attention heads of a fresh model");
  v.field("kv_heads", kv_heads, Integers{0, kMaxHeads},
          "KV heads of a fresh model; 0: as many as heads");
  v.field("ffn", ffn, Integers{0, kMaxFfn},
          "feed-forward width of a fresh model; 0: 4 x width (gated families: 8/3 x width)");
  v.field("context", context, Integers{0, kMaxContext},
          "tokens of a sequence at most; 0: the model's (a fresh model: 256), or as many as the "
          "longest document has");
  v.group("data");
  v.field("data", data, "token file made by `weft data`");
  v.field("task", task, kTasks, "training task (clm: the next token, mlm: masked tokens)");
  v.field("mlm_probability", mlm_probability, Reals{1e-6, 1},
          "task mlm: share of the tokens to predict");
  v.group("optimizer");
  v.field("steps", steps, Integers{1, kMaxSteps},
          "optimizer steps of the whole run, counted over resumes");
  v.field("batch_size", batch_size, Integers{1, kMaxSequences},
          "sequences of a step, over the whole grid");
  v.field("micro_batch_size", micro_batch_size, Integers{0, kMaxSequences},
          "sequences of a rank at a time; 0: all of its share (pp > 1: an eighth)");
  v.field("lr", lr, Reals{0, 1e3}, "peak learning rate");
  v.field("min_lr", min_lr, Reals{0, 1e3},
          "learning rate at the end of the decay; unset: a tenth of --lr");
  v.field("warmup_steps", warmup_steps, Integers{0, kMaxSteps}, "steps of linear warm-up");
  v.field("lr_schedule", lr_schedule, kLrDecays, "decay after the warm-up");
  v.field("weight_decay", weight_decay, Reals{0, 1e3}, "AdamW's weight decay, on matrices only");
  v.field("beta1", beta1, Reals{0, 0.999999}, "AdamW's first-moment decay");
  v.field("beta2", beta2, Reals{0, 0.9999999}, "AdamW's second-moment decay");
  v.field("eps", eps, Reals{1e-30, 1}, "AdamW's epsilon");
  v.field("clip_grad_norm", clip_grad_norm, Reals{0, 1e12},
          "largest gradient norm; 0: no clipping");
  v.field("dropout", dropout, Reals{0, 0.999},
          "probability of every dropout; unset: the model's (a fresh model: 0)");
  v.field("seed", seed, kAnyInteger, "seed of weights, data order and dropout");
  v.group("output");
  v.field("out", out, "output folder");
  v.field("eval_every", eval_every, Integers{0, kMaxSteps},
          "steps between evaluations; 0: at the end only");
  v.field("eval_samples", eval_samples, Integers{0, kMaxSteps},
          "validation sequences of an evaluation; 0: all");
  v.field("sample", sample,
          "prompt to continue at each evaluation (repeatable; task clm), at temperature 0.8 among "
          "the 200 likeliest tokens, drawn by --seed");
  v.field("sample_tokens", sample_tokens, Integers{1, kMaxContext},
          "new tokens of a --sample at most; it ends where the model's context does");
  v.field("save_every", save_every, Integers{0, kMaxSteps},
          "steps between checkpoints; 0: at the end only");
  v.field("keep", keep, Integers{0, kMaxSteps}, "newest checkpoints to keep; 0: all");
  v.field("log_every", log_every, Integers{1, kMaxSteps}, "steps between lines of the run log");
  v.field(
      "resume", resume,
      "auto: the newest valid checkpoint of --out, where there is one; none; or a checkpoint file");
  v.field("walltime", walltime, kWalltimeHelp);
  v.field("metrics", metrics, Words{"tensorboard"},
          "write loss, rates and shares for TensorBoard too, under --out/tensorboard");
  v.group("parallel");
  v.field("tp", tp, kGridAxis, "tensor-parallel ranks");
  v.field("pp", pp, kGridAxis, "pipeline-parallel ranks");
  v.field("dp", dp, kGridAxisOrLeft, "data-parallel ranks; 0: ranks / (tp * pp)");
  v.field("threads", threads, kThreads, "threads of a rank; 0: cores of the host / ranks on it");
  v.field("device", device, kDevices, kDeviceHelp);
  v.field("gpu_map", gpu_map, kGpuMapHelp);
  v.field("comm_timeout", comm_timeout, kCommTimeout, kCommTimeoutHelp);
  v.field("dtype", dtype, kTrainDTypes,
          "arithmetic of matrix products (masters and sums are fp32)");
  v.field("recompute", recompute, kRecomputes, "activations recomputed in backward");
  v.field("pipeline_schedule", pipeline_schedule, pipeline_schedules(),
          "order of micro-batches in a pipeline");
}

void validate(const TrainOptions& o) {
  CHECK_USER(!o.data.empty(), "--data is missing: name a token file made by `weft data`");
  CHECK_USER(!o.out.empty(), "--out is missing: name the folder for checkpoints, log and model");
  if (!o.walltime.empty()) checked_walltime(o.walltime);
  TrainOptions copy = o;
  check_fields([&](FieldVisitor& v) { copy.visit(v); });
  CHECK_USER(o.sample.empty() || o.task == "clm",
             "--sample continues a text, which a model of --task {} does not do; allowed: with "
             "--task clm",
             o.task);
  CHECK_USER(!o.min_lr || *o.min_lr <= o.lr, "--min-lr is {}; allowed: 0 to --lr, {}", *o.min_lr,
             o.lr);
}

}  // namespace weft
