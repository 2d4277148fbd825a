// What `weft train` is told; each field is a flag, a TOML key and a line of recipe.toml.
#pragma once

#include "core/fields.h"
#include "core/option_words.h"

namespace weft {

struct TrainOptions {
  // model
  std::string model, tokenizer, family = "gpt2";
  std::int64_t layers = 12, width = 768, heads = 12, kv_heads = 0, ffn = 0, context = 0;
  // data
  std::string data, task = "clm";
  double mlm_probability = 0.15;
  // optimizer
  std::int64_t steps = 0, batch_size = 8, micro_batch_size = 0;
  double lr = 3e-4;
  std::optional<double> min_lr, dropout;
  std::int64_t warmup_steps = 0;
  std::string lr_schedule = "cosine";
  double weight_decay = 0.1, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, clip_grad_norm = 1.0;
  std::int64_t seed = 0;
  // output
  std::string out;
  std::int64_t eval_every = 0, eval_samples = 256, save_every = 0, keep = 3, log_every = 1;
  std::string resume = "auto", walltime, metrics;
  std::vector<std::string> sample;
  std::int64_t sample_tokens = 64;
  // parallel
  std::int64_t tp = 1, pp = 1, dp = 0, threads = 0, comm_timeout = kCommTimeout_s;
  std::string device, gpu_map, dtype = "fp32", recompute = "none", pipeline_schedule = "1f1b";

  void visit(FieldVisitor& v);
};

// UserErrors name the option, the value and what is allowed, before anything is read.
void validate(const TrainOptions& options);

}  // namespace weft
