#include "train/log_lines.h"

#include <cmath>

#include "core/field_values.h"
#include "core/system/process.h"
#include "core/utf8.h"

namespace weft {

OrderedJson start_line(const StartFacts& f) {
  const ModelConfig& c = f.start.config;
  const GridShape& grid = f.start.shape;
  OrderedJson line = {{"event", "start"}};
  line.update(f.environment);
  line["grid"] = {{"tp", grid.tp}, {"pp", grid.pp}, {"dp", grid.dp}};
  line["model"] =
      shown_fields(c, {"family", "layers", "width", "heads", "kv_heads", "ffn", "vocab"});
  line["model"]["context"] = f.start.step.T;
  line["task"] = f.options.task;
  line["parameters"] = count_parameters(c);
  line["threads"] = f.n_threads;
  line["dtype"] = f.options.dtype;
  line["batch_size"] = f.options.batch_size;
  line["peaks"] = {{"matmul_flops", f.peak_flops}, {"matmul_library", matmul_library(f.device)}};
  line["bytes_per_rank"] = f.bytes_per_rank;
  line["step"] = f.step;
  line["steps"] = f.options.steps;
  line["run"] = f.start.identity;
  TrainOptions resolved = f.resolved;
  resolved.dp = grid.dp;
  resolved.threads = f.n_threads;
  resolved.micro_batch_size = TrainStep::micro_batch_size(f.start.step, grid);
  line["options"] = field_values([&](FieldVisitor& v) { resolved.visit(v); });
  return line;
}

OrderedJson step_line(const StepReport& r) {
  OrderedJson shares;
  for (std::size_t i = 0; i < kTimeShares; ++i)
    shares[std::string(kTimeShareNames[i])] = r.shares[i];
  return {{"event", "step"},
          {"step", r.step},
          {"loss", r.result.loss},
          {"grad_norm", r.result.grad_norm},
          {"lr", r.lr},
          {"tokens", r.tokens},
          {"step_s", r.seconds},
          {"tokens_per_s", r.tokens_per_s()},
          {"mfu", r.speed.mfu},
          {"peak_share", r.speed.peak_share},
          {"comm_bytes", r.comm_bytes},
          {"shares", std::move(shares)},
          {"elapsed_s", r.elapsed_s}};
}

OrderedJson eval_line(const EvalReport& r) {
  OrderedJson line = {{"event", "eval"}, {"step", r.step}, {"loss", r.loss}};
  for (const auto& [name, value] : r.metrics)
    line[name] = std::isfinite(value) ? OrderedJson(value) : OrderedJson();
  line["samples"] = r.n_samples;
  for (const TextSample& t : r.texts)
    line["texts"].push_back({{"prompt", made_utf8(t.prompt)}, {"text", made_utf8(t.text)}});
  return line;
}

std::string eval_text(const EvalReport& r) {
  std::string text = fmt::format("step {}: validation loss {:.4f}", r.step, r.loss);
  for (const auto& [name, value] : r.metrics) text += fmt::format(", {} {:.4f}", name, value);
  return text + fmt::format(", over {} samples", r.n_samples);
}

OrderedJson warning_line(std::int64_t step, const std::string& text) {
  return {{"event", "warning"}, {"step", step}, {"text", text}};
}

namespace {

// What says where and of what a result is, is none.
bool is_scalar(const std::string& name) {
  return name != "step" && name != "tokens" && name != "samples" && name != "elapsed_s";
}

void add_scalars(Scalars& scalars, const std::string& before, const OrderedJson& object) {
  for (const auto& [name, value] : object.items()) {
    if (value.is_object()) add_scalars(scalars, before + name + "/", value);
    if (value.is_number() && is_scalar(name))
      scalars.emplace_back(before + name, value.get<double>());
  }
}

}  // namespace

Scalars scalars_of(const OrderedJson& line) {
  Scalars scalars;
  add_scalars(scalars, line["event"] == "eval" ? "eval/" : "", line);
  return scalars;
}

OrderedJson end_line(std::int64_t step, const std::string& reason, const OrderedJson& risen_peaks) {
  OrderedJson line = {{"event", "end"}, {"step", step}, {"reason", reason}};
  line["elapsed_s"] = process_elapsed_s();
  if (!risen_peaks.empty()) line["risen_peaks"] = risen_peaks;
  return line;
}

}  // namespace weft
