#include "train/options.h"

#include <cmath>

#include "core/check.h"
#include "model/schedule.h"
#include "train/lr_schedule.h"

namespace weft {

void TrainOptions::visit(FieldVisitor& v) {
  v.group("model");
  v.field(
      "model", model,
      "start from this HF directory or Weft checkpoint (.h5); without it a fresh model is made");
  v.field("tokenizer", tokenizer,
          "tokenizer directory, when it comes neither with the model nor with the data");
  v.field("family", family,
          "family of a fresh model: gpt2, gpt_neox, llama, mistral, qwen2, phi3, gemma, gemma2, "
          "bert, distilbert, roberta, esm");
  v.field("layers", layers, "blocks of a fresh model");
  v.field("width", width, "width of a fresh model");
  v.field("heads", heads, "attention heads of a fresh model");
  v.field("kv_heads", kv_heads, "KV heads of a fresh model; 0: as many as heads");
  v.field("ffn", ffn,
          "feed-forward width of a fresh model; 0: 4 x width (gated families: 8/3 x width)");
  v.field("context", context,
          "tokens of a sequence at most; 0: the model's (a fresh model: 256), or as many as the "
          "longest document has");
  v.group("data");
  v.field("data", data, "token file made by `weft data`");
  v.field("task", task, "training task: clm (next token), mlm (masked tokens), classify, regress");
  v.field("mlm_probability", mlm_probability, "task mlm: share of the tokens to predict");
  v.group("optimizer");
  v.field("steps", steps, "optimizer steps of the whole run, counted over resumes");
  v.field("batch_size", batch_size, "sequences of a step, over the whole grid");
  v.field("micro_batch_size", micro_batch_size,
          "sequences of a rank at a time; 0: all of its share (pp > 1: an eighth)");
  v.field("lr", lr, "peak learning rate");
  v.field("min_lr", min_lr, "learning rate at the end of the decay; unset: a tenth of --lr");
  v.field("warmup_steps", warmup_steps, "steps of linear warm-up");
  v.field("lr_schedule", lr_schedule, "decay after the warm-up: cosine, linear, constant");
  v.field("weight_decay", weight_decay, "AdamW's weight decay, on matrices only");
  v.field("beta1", beta1, "AdamW's first-moment decay");
  v.field("beta2", beta2, "AdamW's second-moment decay");
  v.field("eps", eps, "AdamW's epsilon");
  v.field("clip_grad_norm", clip_grad_norm, "largest gradient norm; 0: no clipping");
  v.field("dropout", dropout,
          "probability of every dropout; unset: the model's (a fresh model: 0)");
  v.field("seed", seed, "seed of weights, data order and dropout");
  v.group("output");
  v.field("out", out, "output folder");
  v.field("eval_every", eval_every, "steps between evaluations; 0: at the end only");
  v.field("eval_samples", eval_samples, "validation sequences of an evaluation; 0: all");
  v.field("save_every", save_every, "steps between checkpoints; 0: at the end only");
  v.field("keep", keep, "newest checkpoints to keep; 0: all");
  v.field("log_every", log_every, "steps between lines of the run log");
  v.field(
      "resume", resume,
      "auto: the newest valid checkpoint of --out, where there is one; none; or a checkpoint file");
  v.group("parallel");
  v.field("tp", tp, "tensor-parallel ranks");
  v.field("pp", pp, "pipeline-parallel ranks");
  v.field("dp", dp, "data-parallel ranks; 0: ranks / (tp * pp)");
  v.field("threads", threads, "threads of a rank; 0: cores of the host / ranks on it");
  v.field("device", device, "cpu; cuda is to come");
  v.field("dtype", dtype, "arithmetic of matrix products: fp32, bf16 (fp32 masters and sums)");
  v.field("recompute", recompute, "activations recomputed in backward: none, block");
  v.field("pipeline_schedule", pipeline_schedule, "gpipe, 1f1b");
}

namespace {

void between(const char* name, std::int64_t value, std::int64_t min, std::int64_t max) {
  CHECK_USER(value >= min && value <= max, "--{} is {}; allowed: {} to {}", name, value, min, max);
}
constexpr std::int64_t kMaxSteps = std::int64_t{1} << 40, kMaxSequences = 1 << 24,
                       kMaxWidth = 1 << 24;
void between(const char* name, double value, double min, double max) {
  CHECK_USER(std::isfinite(value) && value >= min && value <= max, "--{} is {}; allowed: {} to {}",
             name, value, min, max);
}

}  // namespace

void validate(const TrainOptions& o) {
  CHECK_USER(!o.data.empty(), "--data is missing: name a token file made by `weft data`");
  CHECK_USER(!o.out.empty(), "--out is missing: name the folder for checkpoints, log and model");
  between("steps", o.steps, 1, kMaxSteps);
  CHECK_USER(o.task == "clm" || o.task == "mlm" || o.task == "classify" || o.task == "regress",
             "--task is '{}'; allowed: clm, mlm, classify, regress", o.task);
  between("mlm-probability", o.mlm_probability, 1e-6, 1.0);
  between("ffn", o.ffn, 0, kMaxWidth);
  between("batch-size", o.batch_size, 1, kMaxSequences);
  between("micro-batch-size", o.micro_batch_size, 0, kMaxSequences);
  between("context", o.context, 0, 1 << 26);
  between("warmup-steps", o.warmup_steps, 0, kMaxSteps);
  between("eval-every", o.eval_every, 0, kMaxSteps);
  between("eval-samples", o.eval_samples, 0, kMaxSteps);
  between("save-every", o.save_every, 0, kMaxSteps);
  between("keep", o.keep, 0, kMaxSteps);
  between("log-every", o.log_every, 1, kMaxSteps);
  between("lr", o.lr, 0, 1e3);
  if (o.min_lr) between("min-lr", *o.min_lr, 0, o.lr);
  between("weight-decay", o.weight_decay, 0, 1e3);
  between("beta1", o.beta1, 0, 0.999999);
  between("beta2", o.beta2, 0, 0.9999999);
  between("eps", o.eps, 1e-30, 1);
  between("clip-grad-norm", o.clip_grad_norm, 0, 1e12);
  if (o.dropout) between("dropout", *o.dropout, 0, 0.999);
  lr_decay(o.lr_schedule);
  schedule_kind(o.pipeline_schedule);
  CHECK_USER(o.recompute == "none" || o.recompute == "block",
             "--recompute is '{}'; allowed: none, block", o.recompute);
  CHECK_USER(o.dtype == "fp32" || o.dtype == "bf16",
             "--dtype is '{}'; allowed for training: fp32, bf16", o.dtype);
}

}  // namespace weft
